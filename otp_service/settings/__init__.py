"""Every setting, with unit, default and range: what one may be, what they may be together, how they are read."""
