from __future__ import annotations

import signal

# A shell gives its background jobs an ignored SIGINT, which Python and all its children keep; the
# tests of Ctrl-C need the usual one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
