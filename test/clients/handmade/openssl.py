"""The openssl command, for everything that is cryptography."""

import pathlib
import subprocess

CIPHERS = {
    "aes128": ("-aes-128-cbc", "2.16.840.1.101.3.4.1.2"),
    "aes192": ("-aes-192-cbc", "2.16.840.1.101.3.4.1.22"),
    "aes256": ("-aes-256-cbc", "2.16.840.1.101.3.4.1.42"),
    "3des": ("-des3", "1.2.840.113549.3.7"),
}
DIGESTS = {
    "md5": "1.2.840.113549.2.5",
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}


class Failed(Exception):
    """openssl did not do what it was asked to do."""


def run(*arguments, stdin=b""):
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, timeout=60)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise Failed(f"openssl {arguments[0]} {arguments[1]}: {said}")
    return done.stdout


def generate_key(path, bits):
    run("genrsa", "-out", path, bits)


def public_key(key):
    """The SubjectPublicKeyInfo of a private key."""
    return run("pkey", "-in", key, "-pubout", "-outform", "DER")


def certificate_public_key(pem):
    spki = run("x509", "-in", pem, "-noout", "-pubkey")
    return run("pkey", "-pubin", "-pubout", "-outform", "DER", stdin=spki)


def sign(key, digest, data):
    """A PKCS #1 v1.5 signature over data."""
    return run("dgst", "-" + digest, "-sign", key, stdin=data)


def self_signed(key, subject, out):
    run("req", "-x509", "-new", "-key", key, "-subj", subject, "-days", "7", "-out", out)


def request_der(key, rdns, challenge, work):
    """A CSR by `openssl req`, for a second opinion on the one made by hand."""
    config = work / "req.cnf"
    lines = ["[req]", "prompt = no", "distinguished_name = dn", "attributes = at", "[dn]"]
    lines += [f"{n}.{kind} = {value}" for n, (kind, value) in enumerate(rdns)]
    lines += ["[at]", f"challengePassword = {challenge}"]
    config.write_text("\n".join(lines) + "\n")
    config.chmod(0o600)
    return run("req", "-new", "-key", key, "-config", config, "-outform", "DER")


def encrypt(data, recipient, cipher, oaep=None, stream=False):
    arguments = ["cms", "-encrypt", "-binary", "-outform", "DER", CIPHERS[cipher][0]]
    if stream:
        arguments.append("-stream")
    if oaep:
        arguments += ["-recip", recipient, "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:" + oaep]
    else:
        arguments.append(recipient)
    return run(*arguments, stdin=data)


def verify(message, work):
    """The content of a SignedData whose signature is good, and its signer's certificate as PEM."""
    signer, content, source = work / "reply-signer.pem", work / "reply-content.der", work / "reply.der"
    source.write_bytes(message)
    run("cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", source, "-out", content, "-signer", signer)
    return content.read_bytes(), signer.read_text()


def decrypt(envelope, certificate, key, legacy=False):
    providers = ["-provider", "default", "-provider", "legacy"] if legacy else []
    return run("cms", "-decrypt", "-binary", "-inform", "DER", "-recip", certificate, "-inkey", key, *providers,
               stdin=envelope)


def pem_certificates(text):
    """Every PEM block of text, in its order."""
    blocks, end = [], "-----END CERTIFICATE-----"
    for part in text.split("-----BEGIN CERTIFICATE-----")[1:]:
        blocks.append("-----BEGIN CERTIFICATE-----" + part.split(end)[0] + end + "\n")
    return blocks


def bundle_certificates(der):
    """The certificates of a certs-only SignedData as PEM, in its order."""
    return pem_certificates(run("pkcs7", "-inform", "DER", "-print_certs", stdin=der).decode())


def certificate_pem(der):
    return run("x509", "-inform", "DER", stdin=der).decode()


def may_encipher_keys(pem, work):
    """Whether a certificate is a leaf that is made to receive envelopes."""
    path = pathlib.Path(work) / "candidate.pem"
    path.write_text(pem)
    text = run("x509", "-in", path, "-noout", "-text").decode()
    return "Key Encipherment" in text and "CA:TRUE" not in text
