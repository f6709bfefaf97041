"""The Python of the guide `verify-in-your-service`. Argument: the folder with verify.py and away.py, which asks a server
that never gives a verdict. Environment: KEYRACK_TEST_KEY, KEYRACK_ROOT_KEY."""

import importlib.util
import os
import sys
from pathlib import Path


def program(name):
    spec = importlib.util.spec_from_file_location(name, Path(sys.argv[1]) / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def told(verdict):
    print(" ".join(filter(None, [verdict.outcome, verdict.code or verdict.customer])))


verify = program("verify").verify
key = os.environ["KEYRACK_TEST_KEY"]
told(verify(key))
told(verify(key, "documents.read"))
told(verify("pay_nobody"))
told(program("away").verify(key))
