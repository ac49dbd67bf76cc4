"""Without torch the library works, and the bridge says what to install; this runs whether torch is there or not."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_without_torch_the_error_names_the_extra():
    code = ("import sys; sys.modules['torch'] = None\n"
            "import sdetheory as sdt; sdt.simulate\n"
            "try:\n    sdt.torch\nexcept ImportError as error:\n    print(error)")
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ('sdetheory.torch: expected torch to be installed, got none; '
                                    'pip install "sdetheory[torch]"')
