"""Who may trade: registry, phones, PINs, cards and their keys."""
