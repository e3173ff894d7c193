"""What the environment says about this run; tests/run.py sets it."""
import os
import random
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VARIANT = os.environ.get("HELIOGRAF_VARIANT", "release")
BINARY = Path(os.environ.get("HELIOGRAF_BINARY", ROOT / "build" / VARIANT / "heliograf"))
SANITIZED = VARIANT != "release"
LONG = os.environ.get("HELIOGRAF_LONG") == "1"
SCALE = float(os.environ.get("HELIOGRAF_SCALE", "0.05" if SANITIZED else "1"))
SEED = int(os.environ.get("HELIOGRAF_SEED") or random.SystemRandom().randrange(1 << 31))  # of what a test leaves to chance
WORKER = int(os.environ.get("HELIOGRAF_WORKER", "0"))
PATIENCE = 3.0 if SANITIZED else 1.5  # factor on every deadline: the machine is shared, sanitizers are slow


def scaled(count, least=1):
    """A number of messages, made smaller for slow variants."""
    return max(least, int(count * SCALE))
