#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes throw-away certificates for tests (EC P-256):
#
#   certs.sh DIR
#
#   ca.pem ca.key                 the CA that clients are to trust
#   server.pem server.key         localhost, intake.test, 127.0.0.1, ::1
#   expired.pem expired.key       the same names, its time is over
#   not-yet.pem not-yet.key       the same names, its time is to come
#   wrong-name.pem wrong-name.key another.test only
#   self-signed.pem .key          the same names, no CA
#   other-ca.pem other-ca.key     a CA that nobody trusts
#   untrusted.pem untrusted.key   the server's names, signed by other-ca
#   client.pem client.key         a client certificate of ca.pem
#   other-client.pem .key         a client certificate of other-ca
set -eu

dir=${1:?usage: certs.sh DIR}
mkdir -p "$dir"
cd "$dir"
umask 077

names="DNS:localhost,DNS:intake.test,IP:127.0.0.1,IP:::1"

run() {
	if ! openssl "$@" 2>openssl.log; then
		cat openssl.log >&2
		exit 1
	fi
}

# key NAME
key() {
	run genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
}

# authority NAME
authority() {
	key "$1"
	run req -x509 -new -key "$1.key" -subj "/CN=sekoia-ebpf test $1" -days 30 -out "$1.pem" \
		-addext "basicConstraints=critical,CA:TRUE" \
		-addext "keyUsage=critical,keyCertSign,cRLSign"
}

# leaf NAME CA PURPOSE SAN [START END]
leaf() {
	key "$1"
	run req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
	cat >"$1.ext" <<-END
		basicConstraints=critical,CA:FALSE
		keyUsage=critical,digitalSignature
		extendedKeyUsage=$3
		subjectAltName=$4
	END
	# A certificate of another time cannot be made with -days alone, so "ca" is asked.
	if [ $# -eq 4 ]; then
		run x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial \
			-days 30 -extfile "$1.ext" -out "$1.pem"
	else
		: >index.txt
		run ca -batch -notext -md sha256 -create_serial -in "$1.csr" -out "$1.pem" \
			-cert "$2.pem" -keyfile "$2.key" -extfile "$1.ext" \
			-startdate "$5" -enddate "$6" -config ca.cnf
	fi
	rm -f "$1.csr" "$1.ext"
}

cat >ca.cnf <<-END
	[ca]
	default_ca = ours
	[ours]
	database = index.txt
	serial = ca.srl
	new_certs_dir = .
	unique_subject = no
	policy = any
	[any]
	commonName = supplied
END

authority ca
authority other-ca
leaf server ca serverAuth "$names"
leaf expired ca serverAuth "$names" 20200101000000Z 20200201000000Z
leaf not-yet ca serverAuth "$names" 20900101000000Z 20900201000000Z
leaf wrong-name ca serverAuth "DNS:another.test"
leaf untrusted other-ca serverAuth "$names"
leaf client ca clientAuth "DNS:client.test"
leaf other-client other-ca clientAuth "DNS:client.test"

key self-signed
run req -x509 -new -key self-signed.key -subj "/CN=localhost" -days 30 -out self-signed.pem \
	-addext "subjectAltName=$names"

rm -f openssl.log ca.cnf index.txt* ./*.srl* ./[0-9A-F]*.pem
chmod 644 ./*.pem
