"""A certificate that a server here shows, and that only who is told so trusts."""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path
from typing import NamedTuple

from .ports import LOOPBACK


class Certificate(NamedTuple):
    """A self-signed certificate, which is its own authority, and its key (both PEM)."""

    file: Path
    key: Path
    fingerprint: str
    """SHA-256 of the certificate, as hex digits."""


def certificate_in(folder: Path) -> Certificate:
    """The certificate for 127.0.0.1 and localhost in this folder; made if there is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    certificate, key = folder / "http.pem", folder / "http.key"
    if not (certificate.is_file() and key.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        _make(certificate, key)
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return Certificate(certificate, key, found.fingerprint(hashes.SHA256()).hex())


def _make(certificate: Path, key: Path) -> None:
    """Everything that OpenSSL asks for in its strict mode (Python 3.13's default) is in it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    public = secret.public_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Milvus Airlift test server")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address(LOOPBACK)), x509.DNSName("localhost")]
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    signed = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(secret, hashes.SHA256())
    )
    with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(
            secret.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
