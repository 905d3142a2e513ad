"""The whole daemon in a simulated world: virtual time, simulated network, disk and chance, from one seed."""
