"""FSK modem in software: octets <-> audio at 8 kHz. Needs numpy (the extra ``audio``); nothing else imports it."""
