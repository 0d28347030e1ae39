"""What a step's code uses by name: in each made-up package, the edits of the numbers 1xx change the digest, and those of 2xx do not."""

from pathlib import Path

import pytest
from made_up_code import MadeUp, edits_that_count, numbers_of

RULES = {
    "what it calls, across modules": """
# app/step.py
from app.work import used
class Step:
    def do(self): return used() + 100
class Other: value = 200
# app/work.py
LIMIT = 101
def used(): return deeper() + LIMIT
def deeper(): return 102
def unused(): return deeper() + 201
UNUSED = 202
""",
    "import a.b, and as": """
# app/step.py
import app.deep.one
import app.deep.two as second
class Step:
    def do(self): return app.deep.one.f() + second.g()
# app/deep/one.py
def f(): return 100
def not_f(): return 200
# app/deep/two.py
def g(): return 101
def not_g(): return 201
""",
    "from-imports of names and modules, with as": """
# app/step.py
from app import one
from app.two import f as renamed
class Step:
    def do(self): return one.f() + renamed()
# app/one.py
def f(): return 100
def renamed(): return 200
# app/two.py
def f(): return 101
def renamed(): return 201
""",
    "relative imports": """
# app/__init__.py
VERSION = 200
# app/step.py
from . import one
from .deep.two import f
class Step:
    def do(self): return one.f() + f()
# app/one.py
def f(): return 100
# app/deep/__init__.py
# app/deep/two.py
from .. import one
from ..three import h
def f(): return one.g() + h() + 101
# app/three.py
def h(): return 102
def i(): return 201
""",
    "imports inside functions": """
# app/step.py
class Step:
    def do(self):
        from app.one import f
        import app.two as two
        def inner():
            from app import three
            return three.f()
        return f() + two.f() + inner()
def elsewhere():
    from app.four import f
    return f() + 200
# app/one.py
def f(): return 100
def g(): return 201
# app/two.py
def f(): return 101
# app/three.py
def f(): return 102
# app/four.py
print("runs when imported", 202)
def f(): return 203
""",
    "re-exports through another module": """
# app/step.py
from app.api import f, g
import app
class Step:
    def do(self): return f() + g() + app.h()
# app/__init__.py
from app.impl import h
# app/api.py
from app.impl import f
from .impl import other as g
from app.impl import unused
# app/impl.py
def f(): return 100
def other(): return 101
def h(): return 102
def unused(): return 200
""",
    "star imports of the project": """
# app/step.py
from app.one import *
from app.two import *
class Step:
    def do(self): return f() + g()
# app/one.py
from app.three import *
def f(): return 100
def unused(): return 200
# app/two.py
def g(): return 101
# app/three.py
def h(): return 201
""",
    "lazy re-exports from a table": """
# app/step.py
from app import Wanted
import app
class Step:
    def do(self): return Wanted() + app.also()
# app/__init__.py
import importlib
_LAZY = {"Wanted": "app.one", "Unwanted": "app.two", "also": ".three", "other": ("app.two", "thing")}
def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(name, 100)
    return getattr(importlib.import_module(_LAZY[name]), name)
# app/one.py
class Wanted: value = 101
class Near: value = 200
# app/two.py
class Unwanted: value = 201
def thing(): return 202
# app/three.py
def also(): return 102
""",
    "lazy re-exports with a variable between": """
# app/step.py
from app import Wanted
class Step(Wanted): pass
# app/__init__.py
from importlib import import_module
_LAZY = {"Wanted": ("app.one", "Real"), "Unwanted": ("app.two", "Unwanted")}
def __getattr__(name):
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)
# app/one.py
class Real: value = 100
class Near: value = 200
# app/two.py
class Unwanted: value = 201
""",
    "lazy re-exports by hand": """
# app/step.py
import app
class Step:
    def do(self): return app.f()
# app/__init__.py
def __getattr__(name):
    if name == "f":
        from app.one import f
        return f
    raise AttributeError(name, 100)
# app/one.py
def f(): return 101
def g(): return 200
""",
    "a class counts whole, with its bases, and not other classes' methods of the same name": """
# app/step.py
from app.one import Derived
class Step:
    def do(self, thing): return thing.act() + Derived().act()
# app/one.py
import dataclasses
from app.two import Base
def default(): return 100
@dataclasses.dataclass
class Derived(Base):
    size: int = 101
    made: list = dataclasses.field(default_factory=default)
    def never_called(self): return 102
class Unrelated:
    def act(self): return 200
# app/two.py
class Root:
    def act(self): return 103
class Base(Root):
    def other(self): return helper()
def helper(): return 104
def no_helper(): return 201
""",
    "defaults, decorators, annotations, class bodies": """
# app/step.py
from app.parts import *
class Step:
    kind = KIND
    @decorator
    def do(self, size=SIZE, *, flag=FLAG) -> Result:
        inner: Inner = None
        def nested(x: "Quoted", y: dict[str, "Deep"], z: typing.Literal["word"]): return x
        return lambda one=LAMBDA: one
# app/parts.py
import typing
KIND = 100
def decorator(f): return (f, 101)
SIZE = 102
FLAG = 103
class Result: value = 104
class Inner: value = 105
class Quoted: value = 106
class Deep: value = 107
LAMBDA = 108
word = 200
class NotNamed: value = 201
""",
    "imports for type checkers alone do not count": """
# app/step.py
from typing import TYPE_CHECKING
import typing
if TYPE_CHECKING:
    from app.one import Kind
    LIMIT = 200
else:
    LIMIT = 100
if typing.TYPE_CHECKING:
    from app.two import Other
class Step:
    def do(self, x: "Kind", y: "Other") -> int:
        if TYPE_CHECKING:
            import app.one
        return LIMIT
# app/one.py
print(201)
class Kind: value = 202
# app/two.py
class Other: value = 203
""",
    "local names hide those of the module": """
# app/step.py
from app import one, two
from app.one import f, g, h
class Step:
    def do(self, one, f):
        two = [f for f in one.f()]
        g = two.g
        return g(h := 1)
    def in_lambda(self):
        return (lambda: (bound := 1)), bound()
    def comprehended(self):
        return [used() for used in used()]
    def caught(self):
        try: pass
        except ValueError as hidden: return hidden
    def outer(self):
        global shown
        shown = 1
def used(): return 100
def bound(): return 102
def hidden(): return 200
def shown(): return 101
# app/one.py
def f(): return 201
def g(): return 202
def h(): return 203
# app/two.py
def g(): return 204
""",
    "functions that call each other, in modules that import each other": """
# app/step.py
from app import one
class Step:
    def do(self): return one.ping(3)
def back(): return 100
# app/one.py
from app import two
def ping(n): return two.pong(n - 1) + 101
def no(): return two.no() + 200
# app/two.py
from app import one, step
def pong(n): return one.ping(n - 1) + step.back() + 102
def no(): return one.no() + 201
""",
    "partial application, tables of functions, lambdas": """
# app/step.py
from app.one import TABLE, applied, shorter
class Step:
    def do(self, key): return TABLE[key]() + applied() + shorter(1)
# app/one.py
import functools
def a(): return 100
def b(): return 101
def c(): return 102
def d(): return 200
TABLE = {"a": a, "b": [b]}
applied = functools.partial(c, 103)
shorter = lambda x: x + e()
def e(): return 104
""",
    "match, nested classes, closures, generators": """
# app/step.py
from app.one import Point, make, unused
class Step:
    class Inner:
        def act(self): return make(100)
    def do(self, thing):
        match thing:
            case Point(x=unused): return unused
            case {"rest": 1, **make2}: return make2
        def closure():
            nonlocal thing
            return (helper(x) for x in thing)
        return closure
def helper(x): return 101
def make2(): return 200
# app/one.py
class Point: x = 102
def make(x): return 103
def unused(): return 201
""",
}


@pytest.mark.parametrize("rule", RULES)
def test_an_edit_counts_where_the_code_is_used(rule: str, tmp_path: Path) -> None:
    counted, uncounted = edits_that_count(MadeUp(tmp_path).write(RULES[rule]))
    assert (counted, uncounted) == numbers_of(RULES[rule])


REPOINTED = {
    "an outside name": ("from numpy import float32 as kind", "from numpy import float64 as kind"),
    "a name of the project": ("from app.one import f", "from app.two import f"),
    "a module": ("import app.one as work", "import app.two as work"),
    "an import inside a function": ("from app.one import g", "from app.two import g"),
    "a re-export": ("from app.one import h", "from app.two import h"),
    "an entry of a lazy table": ('"lazy": "app.one"', '"lazy": "app.two"'),
}
SAME_NAMES = """
# app/step.py
from numpy import float32 as kind
from app.one import f
from app.api import h, lazy
import app.one as work
import app.two
class Step:
    def do(self):
        from app.one import g
        return kind(f()) + g() + h() + work.i() + lazy()
    def all_of_both(self): return self.hand(app.one, app.two)
# app/api.py
import importlib
from app.one import h
_LAZY = {"lazy": "app.one"}
def __getattr__(name): return getattr(importlib.import_module(_LAZY[name]), name)
# app/one.py
def f(): return "one"
def g(): return "one"
def h(): return "one"
def i(): return "one"
def lazy(): return "one"
# app/two.py
def f(): return "two"
def g(): return "two"
def h(): return "two"
def i(): return "two"
def lazy(): return "two"
"""


@pytest.mark.parametrize("name", REPOINTED)
def test_a_name_that_means_another_thing_counts_although_no_definition_came_or_went(name: str, tmp_path: Path) -> None:
    """Everything in both modules is reached in any case."""
    code = MadeUp(tmp_path).write(SAME_NAMES)
    before = code.closure()
    code.edit(*REPOINTED[name])
    after = code.closure()
    assert after.digest != before.digest
    assert set(after.definitions) == set(before.definitions)
