"""PlatformIO: `pio run -t publish` builds, and publishes the image to an otatree server.

In platformio.ini, with this file beside it:

    [env:sht30_d1_mini]
    extra_scripts = post:otatree_publish.py
    custom_otatree_server = https://ota.example.org:8443
    custom_otatree_slot = dev/lotus/sht30_d1_mini
    ; only where the server has a root of its own: its state/identity/root.pem
    custom_otatree_cacert = root.pem

The token is in OTATREE_TOKEN, or in ~/.config/otatree/token (chmod 600): never in platformio.ini, which goes into git.
"""
import base64
import hashlib
import ipaddress
import json
import os
import ssl
import stat
import sys
import urllib.error
import urllib.parse
import urllib.request

Import("env")  # noqa: F821: SCons gives it


def fail(why):
    sys.stderr.write(f"otatree: {why}\n")
    return 1


def option(name, default=None):
    return env.GetProjectOption(f"custom_otatree_{name}", default)  # noqa: F821


def token():
    text = os.environ.get("OTATREE_TOKEN", "").strip()
    if text:
        return text
    path = os.path.expanduser("~/.config/otatree/token")
    try:
        with open(path, encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO) and os.name == "posix":
                raise ValueError(f"{path} may be read by others: chmod 600 {path}")
            return file.read(4096).strip()
    except FileNotFoundError:
        raise ValueError(f"no token: set OTATREE_TOKEN, or write it into {path} (chmod 600)") from None


def is_here(host):
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token is for this server only."""

    def redirect_request(self, *_):
        return None


def put(server, slot, image, secret, cacert):
    """Sends the image; gives what the server says of it."""
    url = urllib.parse.urlsplit(server)
    if url.scheme != "https" and not (url.scheme == "http" and is_here(url.hostname)):
        raise ValueError("custom_otatree_server begins with https://; http:// is for this machine only")
    org, _, below = slot.strip("/").partition("/")
    if not below:
        raise ValueError("custom_otatree_slot is <org>/<project>/<key or node>")
    place = "/".join(["api/v1/admin/orgs", org, "slots", below.replace("/", ":"), "image"])
    digest = base64.b64encode(hashlib.sha256(image).digest()).decode()
    request = urllib.request.Request(
        f"{server.rstrip('/')}/{urllib.parse.quote(place, safe='/:+')}",
        data=image,
        method="PUT",
        headers={
            "Authorization": f"Bearer {secret}",
            "Content-Type": "application/octet-stream",
            "Content-Digest": f"sha-256=:{digest}:",
        },
    )
    trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=cacert))
    # No proxy of the environment stands between us and a server on this machine.
    opener = urllib.request.build_opener(trust, NoRedirect, urllib.request.ProxyHandler({} if is_here(url.hostname) else None))
    try:
        with opener.open(request, timeout=120) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read(65536).decode("utf-8", "replace")
        try:
            text = json.loads(text)["detail"]
        except (ValueError, KeyError, TypeError):
            pass
        raise ValueError(f"{error.code}: {text}") from None


def publish(source, target, env):
    """What the target `publish` does, once the image is built."""
    server, slot = option("server"), option("slot")
    if not server or not slot:
        return fail("platformio.ini needs custom_otatree_server and custom_otatree_slot")
    try:
        with open(str(source[0]), "rb") as file:
            image = file.read()
        put(server, slot, image, token(), option("cacert"))
    except (OSError, ValueError) as error:
        return fail(f"{slot} was not published: {error}")
    print(f"otatree: {len(image)} bytes published to {slot}")
    return 0


env.AddCustomTarget(  # noqa: F821
    "publish",
    "$BUILD_DIR/${PROGNAME}.bin",
    publish,
    title="Publish",
    description="Build, and publish the image to an otatree server",
)
