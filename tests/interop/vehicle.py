"""A vehicle of the `iso15118` package: python vehicle.py <path of its configuration>.

Runs in that package's environment.
"""

from iso15118.evcc.main import run
from peer_timeouts import multiply_timeouts

if __name__ == "__main__":
    multiply_timeouts()
    run()
