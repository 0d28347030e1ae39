"""What counts for a step beyond the names that it uses: in each made-up package, the edits of the numbers 1xx change the digest, and those of 2xx do not."""

from pathlib import Path

import pytest
from made_up_code import MadeUp, edits_that_count, numbers_of

RULES = {
    "imports for what the import itself does": """
# app/step.py
class Step:
    def do(self):
        import app.one
    from app.two import f as method
class Unused:
    import app.three
# app/one.py
print(100)
def f(): return 200
# app/two.py
def f(): return 101
def g(): return 201
# app/three.py
print(102)
def f(): return 202
""",
    "what the module does as it is imported": """
# app/step.py
import app.plugins
from app.names import NAMES
class Step:
    def do(self): return NAMES
def unused(): return 200
# app/names.py
NAMES = {}
OTHERS = {"a": 201}
NAMES["b"] = 100
def register(name, value=101):
    NAMES[name] = value
    return lambda f: f
# app/plugins.py
import installed
from app.names import NAMES, register
NAMES.update(c=102)
for key in "xyz":
    NAMES[key] = 103
if len(NAMES) > 104:
    fallback = 105
@register("f")
def f(): return 106
class Held:
    @register("method")
    def method(self): return 107
HANDLE = register("g", 108)
HOOK = installed.hook("h")(lambda: 110)
KEPT = installed.keep(kept)
def kept(): return 111
MADE = installed.Schema("k", size=204)
_ = len("109")
def plain(): return 202
if __name__ == "__main__":
    print(203)
""",
    "what the packages above a module do": """
# app/step.py
from app.deep.er.one import f
class Step:
    def do(self): return f()
# app/__init__.py
import os
os.environ["A"] = "100"
# app/deep/__init__.py
import os
OLD = os.environ.pop("A", 101)
UNUSED = 200
# app/deep/er/__init__.py
# app/deep/er/one.py
def f(): return 102
""",
    "registries by subclass": """
# app/step.py
import app.formats
from app.base import Format
from fractions import Fraction
class Step:
    def do(self): return Format.known
# app/base.py
class Format:
    known = []
    def __init_subclass__(cls): Format.known.append(cls)
class Plain:
    known = []
# app/formats.py
import installed.library
from app.base import Format, Plain
class Csv(Format): value = 100
class Found(installed.library.FileSystem): value = 101
class Deeper(Csv): value = 102
class Unseen(Plain): value = 200
class Failed(ValueError): value = 201
""",
    "all subclasses asked for": """
# app/step.py
import app.formats
from app.base import Plain
class Step:
    def do(self): return Plain.__subclasses__()
# app/base.py
class Plain: pass
# app/formats.py
from app.base import Plain
class Csv(Plain): value = 100
def unused(): return 200
""",
    "a module as a value counts whole": """
# app/step.py
from app import one, three
import app.two
class Step:
    def do(self, name): return getattr(one, name)() + self.hand(app.two) + getattr(three, "f")()
    def hand(self, module): return module
# app/one.py
def f(): return 100
def g(): return elsewhere()
from app.four import elsewhere, also
# app/two.py
UNUSED = 101
# app/three.py
def f(): return 102
def g(): return 200
# app/four.py
def elsewhere(): return 103
def also(): return 104
def no(): return 201
""",
    "a name that a module is not seen to have may be anything in it": """
# app/step.py
from app import one
class Step:
    def do(self): return one.made() + len(one.__name__)
# app/one.py
def f(): return 100
# app/two.py
def f(): return 200
""",
    "modules by computed names": """
# app/step.py
import importlib
from app import plugins
class Step:
    def do(self, name):
        importlib.import_module("app.constant").f()
        importlib.import_module(".relative", __package__)
        return importlib.import_module(f"app.commands.{name}").run()
# app/constant.py
def f(): return 100
def g(): return 101
# app/relative.py
def f(): return 102
# app/plugins/__init__.py
X = 200
# app/commands/one.py
def run(): return 103
# app/commands/deep/two.py
def run(): return 104
# app/other.py
def run(): return 201
""",
    "modules by a name of which nothing is known": """
# app/step.py
from importlib import import_module as load
class Step:
    def do(self, name): return load(name)
# app/other.py
def run(): return 100
""",
    "its own module by name": """
# app/step.py
class Step:
    def do(self, name): return globals()[name]()
def run(): return 100
# app/other.py
def run(): return 200
""",
    "names found in sys.modules": """
# app/step.py
import sys
class Step:
    def do(self): return sys.modules[__name__].run() + sys.modules["app.one"].f()
    def check(self, name): return name in sys.modules
def run(): return 100
# app/one.py
def f(): return 101
# app/two.py
def f(): return 200
""",
    "names bound in try, if and with": """
# app/step.py
from app.one import f, g, loads, starred
class Step:
    def do(self): return f() + g() + loads() + starred()
# app/one.py
try:
    from app.fast import f
except ImportError:
    def f(): return 100
import sys
if sys.platform == "win32":
    def g(): return 101
else:
    from app.fast import g
try:
    from orjson import loads
except ImportError:
    loads = None
try:
    from app.starred import *
finally:
    pass
def unused(): return 200
# app/starred.py
def starred(): return 104
def other(): return 202
# app/fast.py
def f(): return 102
def g(): return 103
def h(): return 201
""",
    "several assignments of one name, and of several names": """
# app/step.py
from app.one import LIMITS, second
class Step:
    def do(self): return LIMITS + second
# app/one.py
LIMITS = [100]
LIMITS = LIMITS + [101]
LIMITS += [102]
first, (second, *rest) = 103, (1, 2)
alone: int = 200
""",
    "patches of other modules": """
# app/step.py
from app import patches, work
class Step:
    def do(self): return work.f()
# app/work.py
def f(): return 100
# app/patches.py
from app import work
def mine(): return 101
work.f = mine
def unused(): return 200
""",
    "docstrings that code reads": """
# app/step.py
from app.one import f
class Step:
    def do(self): return f.__doc__
# app/one.py
def f():
    "documented 100"
def g():
    "documented 200"
""",
}


@pytest.mark.parametrize("rule", RULES)
def test_an_edit_counts_where_the_code_is_used(rule: str, tmp_path: Path) -> None:
    counted, uncounted = edits_that_count(MadeUp(tmp_path).write(RULES[rule]))
    assert (counted, uncounted) == numbers_of(RULES[rule])
