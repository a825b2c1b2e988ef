/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates for tests, made anew each time in a folder of the caller's: two
 * CAs and one server certificate for each way in which a check can fail. P-256,
 * so that all of them take a few milliseconds. Include it once per program.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct certs_spec {
	const char *file; /* NAME.pem and NAME.key */
	const char *cn;
	const char *issuer;    /* another row's file; NULL: self-signed */
	const char *alt_names; /* NULL: none */
	long from_s, to_s;     /* relative to now */
	bool is_ca;
};

#define CERTS_DAY   86400L
#define CERTS_LOCAL "DNS:localhost,DNS:race.test,DNS:conn.test,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1"

static const struct certs_spec certs_all[] = {
	{ "ca", "Test CA", NULL, NULL, -CERTS_DAY, CERTS_DAY, true },
	{ "other-ca", "Other CA", NULL, NULL, -CERTS_DAY, CERTS_DAY, true },
	{ "good", "localhost", "ca", CERTS_LOCAL, -CERTS_DAY, CERTS_DAY, false },
	{ "expired", "localhost", "ca", CERTS_LOCAL, -9 * CERTS_DAY, -2 * CERTS_DAY, false },
	{ "future", "localhost", "ca", CERTS_LOCAL, 2 * CERTS_DAY, 9 * CERTS_DAY, false },
	{ "wrong-name", "other.example", "ca", "DNS:other.example,DNS:*.example.net", -CERTS_DAY,
	  CERTS_DAY, false },
	{ "self-signed", "localhost", NULL, CERTS_LOCAL, -CERTS_DAY, CERTS_DAY, false },
	{ "other", "localhost", "other-ca", CERTS_LOCAL, -CERTS_DAY, CERTS_DAY, false },
	{ "client", "collector", "ca", NULL, -CERTS_DAY, CERTS_DAY, false },
};

#define CERTS_N (sizeof(certs_all) / sizeof(certs_all[0]))

static const char *certs_path(const char *dir, const char *name, const char *suffix)
{
	static char paths[4][512];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s.%s", dir, name, suffix);
	return path;
}

static FILE *certs_create(const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f) {
		perror(path);
		abort();
	}
	return f;
}

static void certs_add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (!ext)
		abort();
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

static void certs_make(const char *dir)
{
	X509 *cert[CERTS_N];
	EVP_PKEY *key[CERTS_N];

	for (size_t i = 0; i < CERTS_N; i++) {
		const struct certs_spec *s = &certs_all[i];
		size_t by = i;
		X509_NAME *name;
		FILE *f;

		for (size_t k = 0; s->issuer && k < i; k++)
			if (!strcmp(certs_all[k].file, s->issuer))
				by = k;
		key[i] = EVP_EC_gen("P-256");
		cert[i] = X509_new();
		if (!key[i] || !cert[i])
			abort();
		X509_set_version(cert[i], X509_VERSION_3);
		ASN1_INTEGER_set(X509_get_serialNumber(cert[i]),
				 (long)(time(NULL) % 1000000) * 100 + (long)i);
		X509_gmtime_adj(X509_getm_notBefore(cert[i]), s->from_s);
		X509_gmtime_adj(X509_getm_notAfter(cert[i]), s->to_s);
		X509_set_pubkey(cert[i], key[i]);
		name = X509_get_subject_name(cert[i]);
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)s->cn,
					   -1, -1, 0);
		X509_set_issuer_name(cert[i], X509_get_subject_name(cert[by]));
		certs_add_ext(cert[i], cert[by], NID_basic_constraints,
			      s->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
		certs_add_ext(cert[i], cert[by], NID_subject_key_identifier, "hash");
		if (s->alt_names)
			certs_add_ext(cert[i], cert[by], NID_subject_alt_name, s->alt_names);
		if (!X509_sign(cert[i], key[by], EVP_sha256()))
			abort();

		f = certs_create(certs_path(dir, s->file, "pem"));
		PEM_write_X509(f, cert[i]);
		fclose(f);
		f = certs_create(certs_path(dir, s->file, "key"));
		PEM_write_PrivateKey(f, key[i], NULL, NULL, 0, NULL, NULL);
		fclose(f);
	}
	for (size_t i = 0; i < CERTS_N; i++) {
		X509_free(cert[i]);
		EVP_PKEY_free(key[i]);
	}
}
