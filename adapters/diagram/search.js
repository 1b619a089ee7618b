"use strict";
// Shows only what holds every word of the query. Without this script the page is complete.
(() => {
  const field = document.getElementById("query");
  const told = document.getElementById("found");
  const sections = [...document.querySelectorAll("main > section")];
  const plain = (text) => text.toLowerCase().replaceAll("_", " ").replace(/\s+/g, " ");
  // What a row opens, code and the texts of what it serves, would match too much; each text stands for itself below.
  const own = (element) => {
    const copy = element.cloneNode(true);
    for (const opened of copy.querySelectorAll("td details > :not(summary)")) opened.remove();
    return copy.textContent;
  };
  const items = [...document.querySelectorAll("[data-find]")].map((element) => {
    const section = element.closest("section");
    const words = [section.querySelector("h2").textContent, element.dataset.find, own(element)];
    return { element, section, text: plain(words.join(" ")) };
  });
  // A table, and the heading above it, go with their last row.
  const tables = [...document.querySelectorAll("main > section > table")];

  const search = () => {
    const words = plain(field.value).trim().split(" ").filter(Boolean);
    const stems = words.map((word) => (word.length > 3 ? word.replace(/s$/, "") : word));
    const places = new Set();
    let found = 0;
    for (const { element, section, text } of items) {
      const matches = stems.every((stem) => text.includes(stem));
      element.hidden = !matches;
      if (matches) {
        found += 1;
        places.add(section);
      }
    }
    for (const section of sections) section.hidden = stems.length > 0 && !places.has(section);
    for (const table of tables) {
      const empty = stems.length > 0 && !table.querySelector("[data-find]:not([hidden])");
      table.hidden = empty;
      if (table.previousElementSibling.matches("h3")) table.previousElementSibling.hidden = empty;
    }
    const where = places.size === 1 ? "1 section" : `${places.size} sections`;
    told.textContent = stems.length === 0 ? "" : `${found} of ${items.length} in ${where}`;
  };

  field.addEventListener("input", search);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      field.value = "";
      search();
    }
  });
  // A link must find its target, whatever was searched for.
  window.addEventListener("hashchange", () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.closest("[hidden]")) {
      field.value = "";
      search();
      target.scrollIntoView();
    }
  });
  document.querySelector(".search").hidden = false;
})();
