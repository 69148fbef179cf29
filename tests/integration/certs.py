"""Certificates for tests, made when they are asked for: none in the repository that expires."""

import atexit
import os
import shutil
import ssl
import subprocess
import tempfile

ready = {}


def openssl(*arguments, **options):
    done = subprocess.run(("openssl",) + arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if done.returncode:
        raise AssertionError("openssl %s: %s" % (" ".join(arguments), done.stderr.decode()))
    return done.stdout


def folder():
    """Where they are, until the process ends."""
    if "folder" not in ready:
        ready["folder"] = tempfile.mkdtemp(prefix="magpie-certs-")
        atexit.register(shutil.rmtree, ready["folder"], True)
    return ready["folder"]


def path(name):
    return os.path.join(folder(), name)


def authority(name="ca"):
    """Files of an authority's certificate and key."""
    if name not in ready:
        key, cert = path(name + ".key"), path(name + ".pem")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                "-out", cert, "-days", "30", "-subj", "/CN=Magpie test " + name)
        ready[name] = cert, key
    return ready[name]


def certificate(name="localhost", names=("DNS:localhost", "IP:127.0.0.1"), ca="ca", days=30, common=None,
                kind=("ec", "ec_paramgen_curve:prime256v1")):
    """Files of a certificate, signed by the authority `ca`, and of its key. days < 0: it has expired."""
    if name not in ready:
        ca_cert, ca_key = authority(ca)
        key, cert, request, extensions = (path(name + end) for end in (".key", ".pem", ".csr", ".ext"))
        openssl("req", "-newkey", kind[0], "-pkeyopt", kind[1], "-nodes", "-keyout", key, "-out", request, "-subj",
                "/CN=" + (common or name))
        with open(extensions, "w") as f:
            f.write("subjectAltName=%s\n" % ",".join(names))
        command = ["x509", "-req", "-in", request, "-CA", ca_cert, "-CAkey", ca_key, "-CAcreateserial", "-out", cert,
                   "-extfile", extensions, "-days", str(days)]
        openssl(*command)
        os.chmod(key, 0o600)
        ready[name] = cert, key
    return ready[name]


def client(version=None, ca="ca", **settings):
    """A client's context that trusts the authority. version: "1.2" or "1.3" alone."""
    context = ssl.create_default_context(cafile=authority(ca)[0])
    if version:
        context.minimum_version = context.maximum_version = {
            "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    if "ciphers" in settings:
        context.set_ciphers(settings["ciphers"])
    return context


def settings(**more):
    """The section `tls` of a server that is `localhost`."""
    cert, key = certificate()
    return dict({"certificate": cert, "key": key}, **more)
