"""Loads an extra_script as PlatformIO does, with an environment that stands for SCons, and runs its target.

python3 platformio.py SCRIPT IMAGE [OPTION=VALUE …]
"""
import sys


class Environment:
    """What of SCons and PlatformIO the script uses."""

    def __init__(self, options):
        self.options = options
        self.target = None

    def GetProjectOption(self, name, default=None):
        return self.options.get(name, default)

    def AddCustomTarget(self, name, dependencies, actions, title=None, description=None):
        assert (name, dependencies) == ("publish", "$BUILD_DIR/${PROGNAME}.bin")
        self.target = actions


env = Environment(dict(option.split("=", 1) for option in sys.argv[3:]))
names = {"__name__": "SCons.Script"}
names["Import"] = lambda name: names.update({name: env})
with open(sys.argv[1], encoding="utf-8") as script:
    exec(compile(script.read(), sys.argv[1], "exec"), names)
sys.exit(env.target(source=[sys.argv[2]], target=["publish"], env=env))
