#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TLS server, a TLS client and a QUIC relay for the tests of names.

hello.py serve HOST PORT CERT KEY OUT: for each connection a line in OUT: the client's
port, the JA4 of its hello, its server name and the protocols that it offers. The
fingerprint is computed here from the bytes on the wire, from the published description,
by code that shares nothing with ours. Then a real handshake.

hello.py connect HOST PORT LOCAL_PORT NAME PARTS: a real handshake, whose hello is sent in
so many segments.

hello.py relay HOST PORT TO_PORT OUT: between QUIC clients and a server at another port; the
same line in OUT for each client, whose first packets it decrypts with openssl(1).
"""
import hashlib
import hmac
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        piece = self.data[self.at:self.at + n]
        assert len(piece) == n
        self.at += n
        return piece

    def number(self, n):
        return int.from_bytes(self.take(n), "big")

    def vector(self, n):
        return Cursor(self.take(self.number(n)))

    def rest(self):
        return self.at < len(self.data)


def numbers(cursor):
    found = []
    while cursor.rest():
        value = cursor.number(2)
        if value & 0x0f0f != 0x0a0a:
            found.append(value)
    return found


def short_hash(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12


def hexes(values):
    return ",".join("%04x" % v for v in values)


def describe(record):
    """JA4, server name and protocols of the hello in one record."""
    c = Cursor(record)
    assert c.number(1) == 22
    c.take(2)
    return describe_message(c.vector(2), "t")


def describe_message(c, transport):
    assert c.number(1) == 1
    c = c.vector(3)
    version = c.number(2)
    c.take(32)
    c.vector(1)
    ciphers = numbers(c.vector(2))
    c.vector(1)
    kinds, algorithms, name, protocols = [], [], "", []
    extensions = c.vector(2) if c.rest() else Cursor(b"")
    while extensions.rest():
        kind, body = extensions.number(2), extensions.vector(2)
        if kind & 0x0f0f != 0x0a0a:
            kinds.append(kind)
        if kind == 0:
            body = body.vector(2)
            assert body.number(1) == 0
            name = body.vector(2).data.decode()
        elif kind == 16:
            body = body.vector(2)
            while body.rest():
                protocols.append(body.vector(1).data.decode())
        elif kind == 43:
            version = max(numbers(body.vector(1)))
        elif kind == 13:
            algorithms = numbers(body.vector(2))
    names = {0x304: "13", 0x303: "12", 0x302: "11", 0x301: "10"}
    first = "%s%s%s%02d%02d%s" % (
        transport, names[version], "d" if 0 in kinds else "i", min(len(ciphers), 99),
        min(len(kinds), 99), protocols[0][0] + protocols[0][-1] if protocols else "00")
    third = hexes(sorted(k for k in kinds if k not in (0, 16)))
    if algorithms:
        third += "_" + hexes(algorithms)
    ja4 = "_".join((first, short_hash(hexes(sorted(ciphers))), short_hash(third)))
    return ja4, name, protocols


def peek(connection):
    """The first record, left where it is."""
    for _ in range(200):
        data = connection.recv(16389, socket.MSG_PEEK)
        if len(data) >= 5 and len(data) >= 5 + struct.unpack(">H", data[3:5])[0]:
            return data
        time.sleep(0.02)
    raise TimeoutError


def answer(connection, port, context, out):
    try:
        ja4, name, protocols = describe(peek(connection))
        with open(out, "a", encoding="ascii") as f:
            f.write("%d %s %s %s\n" % (port, ja4, name or "-", ",".join(protocols) or "-"))
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1000)
            tls.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    except (OSError, AssertionError) as error:
        print(port, repr(error), flush=True)
    finally:
        connection.close()


def serve(host, port, certificate, key, out):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    with socket.create_server((host, int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as s:
        while True:
            connection, peer = s.accept()
            threading.Thread(target=answer, args=(connection, peer[1], context, out)).start()


def connect(host, port, local_port, name, parts):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with socket.create_connection((host, int(port)), source_address=("", int(local_port))) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = outgoing.read()
                size = -(-len(data) // int(parts)) or 1
                for at in range(0, len(data), size):
                    s.send(data[at:at + size])
                    time.sleep(0.05)
                parts = 1
                incoming.write(s.recv(16384))
        tls.write(b"GET / HTTP/1.1\r\n\r\n")
        s.send(outgoing.read())
        while s.recv(16384):
            pass


def openssl(cipher, key, iv, data):
    command = ["openssl", "enc", "-" + cipher, "-nopad", "-K", key.hex()]
    return subprocess.run(command + (["-iv", iv.hex()] if iv else []), input=data, check=True,
                          stdout=subprocess.PIPE).stdout


def expand(secret, label, length):
    label = b"tls13 " + label
    info = struct.pack(">HB", length, len(label)) + label + b"\0\1"
    return hmac.new(secret, info, "sha256").digest()[:length]


def quic_number(c):
    first = c.number(1)
    more = (1 << (first >> 6)) - 1
    return (first & 0x3f) << 8 * more | int.from_bytes(c.take(more), "big")


def open_initial(datagram):
    """The frames of the Initial packet that a datagram begins with; its tag is not looked at."""
    c = Cursor(datagram)
    first, version = c.number(1), c.number(4)
    salt, label = {
        1: ("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", b"quic "),
        0x6b3343cf: ("0dede3def700a6db819381be6e269dcbf9bd2ed9", b"quicv2 "),
    }[version]
    initial = hmac.new(bytes.fromhex(salt), c.vector(1).data, "sha256").digest()
    client = expand(initial, b"client in", 32)
    key, iv, protection = (expand(client, label + what, n) for what, n in ((b"key", 16), (b"iv", 12), (b"hp", 16)))
    c.vector(1)
    c.take(quic_number(c))
    packet = c.take(quic_number(c))
    mask = openssl("aes-128-ecb", protection, None, packet[4:20])
    length = ((first ^ mask[0]) & 3) + 1
    number = bytes(a ^ b for a, b in zip(packet[:length], mask[1:]))
    nonce = int.from_bytes(iv, "big") ^ int.from_bytes(number, "big")
    # GCM is CTR, and its first block is the third one.
    return openssl("aes-128-ctr", key, nonce.to_bytes(12, "big") + b"\0\0\0\2", packet[length:-16])


def crypto(frames, hello):
    c = Cursor(frames)
    while c.rest():
        kind = c.number(1)
        if kind == 6:
            offset = quic_number(c)
            for i, byte in enumerate(c.take(quic_number(c))):
                hello[offset + i] = byte
        else:
            assert kind in (0, 1)


def relay(host, port, to_port, out):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((host, int(port)))
    clients, hellos = {}, {}
    while True:
        for s in select.select([server] + list(clients), [], [])[0]:
            data, peer = s.recvfrom(65536)
            if s is not server:
                server.sendto(data, clients[s])
                continue
            if peer not in hellos:
                up = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                up.connect((host, int(to_port)))
                clients[up], hellos[peer] = peer, (up, {})
            up, hello = hellos[peer]
            up.send(data)
            if hello is None:
                continue
            crypto(open_initial(data), hello)
            whole = bytes(hello.get(i, 0) for i in range(max(hello) + 1))
            if len(hello) >= 4 and len(hello) == len(whole) == 4 + int.from_bytes(whole[1:4], "big"):
                ja4, name, protocols = describe_message(Cursor(whole), "q")
                with open(out, "a", encoding="ascii") as f:
                    f.write("%d %s %s %s\n" % (peer[1], ja4, name or "-", ",".join(protocols) or "-"))
                hellos[peer] = (up, None)


if __name__ == "__main__":
    {"serve": serve, "connect": connect, "relay": relay}[sys.argv[1]](*sys.argv[2:])
