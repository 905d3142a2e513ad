"""AirCharge: airtime recharge (空中充值) for provincial agents, one Twisted daemon and one ledger."""

__all__ = ["__version__"]

__version__ = "0.1.0"
