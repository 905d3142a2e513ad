"""The POS door: payment terminals on IP, dial-up and FSK speak one application (docs/channels/pos.md)."""
