import sys
from pathlib import Path

# Worker processes import trials by name; `toys` is importable for them as it is for us.
sys.path.insert(0, str(Path(__file__).parent))
