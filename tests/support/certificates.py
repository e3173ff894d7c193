"""Throw-away certificates, made with the openssl command."""
import subprocess
from pathlib import Path


class Certificates:
    """
    A CA with a server certificate for 127.0.0.1 and localhost, one for another host, and a client certificate; and a second CA
    that signed none of them. Paths are attributes: ca, server, server_key, stranger, stranger_key, client, client_key, other_ca.
    """

    def __init__(self, directory):
        self.directory = Path(directory) / "certificates"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ca, self.ca_key = self._authority("ca")
        self.other_ca, _ = self._authority("other-ca")
        self.server, self.server_key = self._signed("server", "DNS:localhost,IP:127.0.0.1")
        self.stranger, self.stranger_key = self._signed("stranger", "DNS:broker.example.org")
        self.client, self.client_key = self._signed("client", "DNS:client")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def _pair(self, name):
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def _request(self, name, *more):
        certificate, key = self._pair(name)
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                      "-subj", f"/CN={name}", "-keyout", key, "-out", certificate, *more)
        return certificate, key

    def _authority(self, name):
        return self._request(name, "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _signed(self, name, names):
        return self._request(name, "-CA", self.ca, "-CAkey", self.ca_key, "-addext", f"subjectAltName={names}",
                             "-addext", "basicConstraints=critical,CA:FALSE")

    def signed_as(self, name, subject):
        """A client certificate with this subject ("/CN=press-4"), signed by the CA: (certificate, key)."""
        certificate, key = self._pair(name)
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", subject,
                      "-keyout", key, "-out", certificate, "-CA", self.ca, "-CAkey", self.ca_key, "-addext", "basicConstraints=critical,CA:FALSE")
        return certificate, key

    def encrypt_client_key(self, password):
        """The client's key under a password; its path."""
        path = self.directory / "client-encrypted.key"
        self._openssl("pkey", "-in", self.client_key, "-aes256", "-passout", f"pass:{password}", "-out", path)
        return path
