"""The demonstration: the whole executor against a local venue, with every kind of ending, checked at the end."""
