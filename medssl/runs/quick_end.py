"""Importing this lets the process end without a last search for reference cycles.

Before it ends, the interpreter looks through every object for cycles to free. After the imports of torch and MONAI that
takes a second and a half, and the memory goes back to the system anyway. Files, pools and temporary folders are closed
before.
"""

import atexit
import gc

# Frozen objects are not searched. What is registered first runs last, after the endings of other libraries.
atexit.register(gc.freeze)
