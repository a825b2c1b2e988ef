/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that knows OpenSSL. Two halves: the client (trust, certificate,
 * session cache: all files are read there, once) and the connection, whose
 * second duty is to say in one line why TLS failed and what helps.
 */
#define _GNU_SOURCE
#include "output/tls.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define CA_FILE_MAX_BYTES (16u << 20)
#define CA_FILES_MAX	  4096 /* of one folder */
#define SESSIONS_MAX	  8
#define NAME_MAX_BYTES	  255
#define TEXT_SIZE	  512
#define NAMES_SHOWN	  6 /* of a certificate, in an error */

/* One session for each server name, so that a reconnect is cheap for both sides. */
struct kept_session {
	char *server_name;
	SSL_SESSION *session;
};

struct tls_client {
	SSL_CTX *ctx;
	bool has_cert;
	struct kept_session sessions[SESSIONS_MAX];
	unsigned next_session; /* which one gives way when all are taken */
};

struct tls {
	struct tls_client *client;
	SSL *ssl;
	int fd;
	char *server_name;
	uint32_t wants;
	bool ready;	    /* the handshake is done */
	bool cert_wanted;   /* the server asked for ours */
	bool eof;	    /* TCP ended */
	bool write_pending; /* a write must be repeated before anything else is sent */
	uint64_t asked;	    /* KeyUpdates of ours that want an answer */
	uint64_t receipts;  /* the answers */
	int io_errno;	    /* of the last failed read or write */
	uint8_t first[16];  /* what the peer said first */
	unsigned n_first;
	char text[TEXT_SIZE];
};

/* ------------------------------------------------------------------ the socket */

/*
 * Our own BIO instead of OpenSSL's: no SIGPIPE, and errno, the end of file and
 * the peer's first bytes are kept for the error text.
 */
static int bio_write(BIO *bio, const char *p, int n)
{
	struct tls *t = BIO_get_data(bio);
	ssize_t done;

	BIO_clear_retry_flags(bio);
	do
		done = send(t->fd, p, (size_t)n, MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	if (done < 0) {
		if (errno == EAGAIN)
			BIO_set_retry_write(bio);
		else
			t->io_errno = errno;
	}
	return (int)done;
}

static int bio_read(BIO *bio, char *p, int n)
{
	struct tls *t = BIO_get_data(bio);
	ssize_t done;

	BIO_clear_retry_flags(bio);
	do
		done = recv(t->fd, p, (size_t)n, 0);
	while (done < 0 && errno == EINTR);
	if (done < 0) {
		if (errno == EAGAIN)
			BIO_set_retry_read(bio);
		else
			t->io_errno = errno;
	} else if (!done) {
		t->eof = true;
	} else {
		for (ssize_t i = 0; i < done && t->n_first < sizeof(t->first); i++)
			t->first[t->n_first++] = (uint8_t)p[i];
	}
	return (int)done;
}

static long bio_ctrl(BIO *bio, int command, long n, void *p)
{
	(void)bio;
	(void)n;
	(void)p;
	return command == BIO_CTRL_FLUSH;
}

/* Made once; OpenSSL has no place for it in a context. */
static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method;

	if (method)
		return method;
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
	if (!method)
		return NULL;
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_ctrl(method, bio_ctrl);
	return method;
}

/* ------------------------------------------------------------------ texts */

struct text {
	char *p;
	size_t size, len;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->len + 1 >= t->size)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->p + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n;
	if (t->len >= t->size)
		t->len = t->size - 1;
}

/* The peer chose these bytes: only harmless ones reach a terminal. */
static void add_foreign(struct text *t, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++)
		add(t, "%c", p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '?');
}

/* "CN=x,O=y" in ASCII: RFC 2253 escapes the rest. */
static void add_name(struct text *t, X509_NAME *name)
{
	BIO *mem = BIO_new(BIO_s_mem());
	char *p;
	long n;

	if (mem && X509_NAME_print_ex(mem, name, 0, XN_FLAG_RFC2253) >= 0) {
		n = BIO_get_mem_data(mem, &p);
		add(t, "\"");
		add_foreign(t, p, n > 120 ? 120 : (size_t)n);
		add(t, n > 120 ? "...\"" : "\"");
	}
	BIO_free(mem);
}

static void add_tm(struct text *t, const struct tm *tm)
{
	char date[32];

	strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC", tm);
	add(t, "%s", date);
}

static void add_time(struct text *t, const ASN1_TIME *time)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(time, &tm) == 1)
		add_tm(t, &tm);
	else
		add(t, "an unreadable date");
}

static void add_now(struct text *t)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	add_tm(t, &tm);
}

/* All names that a certificate is for: "a.example, *.b.example, 192.0.2.1". */
static void add_cert_names(struct text *t, X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int shown = 0, left = 0;
	char ip[INET6_ADDRSTRLEN];

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *s = NULL;
		int len;

		if (name->type != GEN_DNS && name->type != GEN_IPADD)
			continue;
		if (shown == NAMES_SHOWN) {
			left++;
			continue;
		}
		s = name->type == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
		len = ASN1_STRING_length(s);
		add(t, "%s", shown++ ? ", " : "");
		if (name->type == GEN_DNS)
			add_foreign(t, ASN1_STRING_get0_data(s), len > 80 ? 80 : (size_t)len);
		else if (len == 4 || len == 16)
			add(t, "%s",
			    inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), ip,
				      sizeof(ip)));
	}
	if (left)
		add(t, " and %d more", left);
	if (!shown)
		add_name(t, X509_get_subject_name(cert));
	GENERAL_NAMES_free(names);
}

/* OpenSSL's own words for what has no better ones here. */
static const char *openssl_reason(unsigned long error)
{
	const char *reason = ERR_reason_error_string(error);

	return reason ? reason : "unknown reason";
}

/* ------------------------------------------------------------------ trust */

struct loading {
	X509_STORE *store;
	int certs;	       /* that could be used */
	unsigned long damaged; /* the first error, or 0 */
};

/* 0, or -errno when the file can not be read. Certificates that are damaged are left out. */
static int load_file(struct loading *l, int dir_fd, const char *path)
{
	_cleanup_close_ int fd = -1;
	_cleanup_fclose_ FILE *f = NULL;
	struct stat st;
	unsigned long error;
	X509 *cert;
	BIO *bio;

	/* NONBLOCK: a FIFO would wait for a writer. */
	fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > CA_FILE_MAX_BYTES)
		return -EFBIG;
	f = fdopen(fd, "r");
	if (!f)
		return -errno;
	(void)TAKE_FD(fd);
	bio = BIO_new_fp(f, BIO_NOCLOSE);
	if (!bio)
		return -ENOMEM;
	ERR_clear_error();
	for (;;) {
		cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
		if (cert) {
			l->certs += X509_STORE_add_cert(l->store, cert) == 1;
			X509_free(cert);
			continue;
		}
		error = ERR_peek_last_error();
		ERR_clear_error();
		if (ERR_GET_LIB(error) == ERR_LIB_PEM &&
		    ERR_GET_REASON(error) == PEM_R_NO_START_LINE)
			break;
		if (!l->damaged)
			l->damaged = error;
		/* A damaged one is stepped over; without progress it is the file that is. */
		if (feof(f) || ferror(f))
			break;
	}
	BIO_free(bio);
	return ferror(f) ? -EIO : 0;
}

/* Every file of the folder, whatever its name: hashed names are for those who look up later. */
static int load_folder(struct loading *l, const char *path)
{
	DIR *dir = opendir(path);
	int files = 0;
	struct dirent *e;

	if (!dir)
		return -errno;
	while ((e = readdir(dir)) && files < CA_FILES_MAX) {
		if (e->d_name[0] == '.')
			continue;
		files++;
		load_file(l, dirfd(dir), e->d_name);
	}
	closedir(dir);
	return 0;
}

static int load_path(struct loading *l, const char *path)
{
	int err = load_file(l, AT_FDCWD, path);

	return err == -EISDIR ? load_folder(l, path) : err;
}

/* The bundle of each family of distributions, then the folders. */
static const char *const system_stores[] = {
	"/etc/ssl/certs/ca-certificates.crt",		     /* Debian, Alpine, Arch */
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* RHEL, Fedora */
	"/etc/pki/tls/certs/ca-bundle.crt",		     /* RHEL before 7 */
	"/etc/ssl/ca-bundle.pem",			     /* SUSE */
	"/var/lib/ca-certificates/ca-bundle.pem",	     /* SUSE MicroOS */
	"/etc/ssl/cert.pem",				     /* Alpine without bundle */
	"/etc/ssl/certs",
	"/etc/pki/tls/certs",
};

static int load_system(struct loading *l, struct text *text)
{
	const char *file = getenv("SSL_CERT_FILE"), *folder = getenv("SSL_CERT_DIR");

	/* Set by hand, these replace the system's, as they do for OpenSSL itself. */
	if ((file && *file) || (folder && *folder)) {
		if (file && *file)
			load_path(l, file);
		if (folder && *folder)
			load_path(l, folder);
		if (l->certs)
			return 0;
		add(text, "no CA certificate found in SSL_CERT_FILE=%s, SSL_CERT_DIR=%s",
		    file ? file : "", folder ? folder : "");
		return -ENOENT;
	}
	for (size_t i = 0; i < sizeof(system_stores) / sizeof(system_stores[0]); i++) {
		load_path(l, system_stores[i]);
		if (l->certs)
			return 0;
	}
	add(text,
	    "no CA certificates found on this system (looked for %s and others): install "
	    "ca-certificates, or give the server's CA with tls.ca",
	    system_stores[0]);
	return -ENOENT;
}

static int load_given(struct loading *l, const char *path, struct text *text)
{
	int err = load_path(l, path);

	if (err) {
		add(text, "tls.ca: %s: %s", path,
		    err == -EFBIG    ? "too large for certificates"
		    : err == -EINVAL ? "neither a file nor a folder"
				     : strerror(-err));
		return err;
	}
	if (l->certs)
		return 0;
	if (l->damaged)
		add(text, "tls.ca: %s: its certificate is damaged (%s)", path,
		    openssl_reason(l->damaged));
	else
		add(text,
		    "tls.ca: %s: no certificate in it; PEM is expected, with BEGIN CERTIFICATE",
		    path);
	return -EINVAL;
}

/* ------------------------------------------------------------------ our certificate */

/* A daemon has nobody to ask. */
static int no_passphrase(char *p, int size, int writing, void *arg)
{
	bool *asked = arg;

	(void)p;
	(void)size;
	(void)writing;
	*asked = true;
	return -1;
}

static int check_readable(const char *option, const char *path, struct text *text)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int err = fd < 0 ? -errno : 0;

	if (err)
		add(text, "%s: %s: %s", option, path, strerror(-err));
	return err;
}

static int load_cert(SSL_CTX *ctx, const struct tls_opts *opts, struct text *text)
{
	/* One file may hold both. */
	const char *key = opts->key ? opts->key : opts->cert;
	bool asked = false;
	int err;

	if (!opts->cert) {
		add(text, "tls.key is given without tls.cert");
		return -EINVAL;
	}
	err = check_readable("tls.cert", opts->cert, text);
	if (!err)
		err = check_readable("tls.key", key, text);
	if (err)
		return err;
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx, opts->cert) != 1) {
		unsigned long error = ERR_peek_error();

		if (ERR_GET_LIB(error) == ERR_LIB_PEM &&
		    ERR_GET_REASON(error) == PEM_R_NO_START_LINE)
			add(text,
			    "tls.cert: %s: no certificate in it; PEM is expected, with BEGIN CERTIFICATE",
			    opts->cert);
		else
			add(text, "tls.cert: %s: %s", opts->cert, openssl_reason(error));
		return -EINVAL;
	}
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
	err = SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1 ? 0 : -EINVAL;
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	SSL_CTX_set_default_passwd_cb(ctx, NULL);
	if (!err)
		return 0;
	if (asked)
		add(text,
		    "tls.key: %s: it is encrypted; store it without a passphrase, readable "
		    "by root only",
		    key);
	else if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_X509)
		add(text, "tls.key: %s: this key does not belong to the certificate in %s", key,
		    opts->cert);
	else
		add(text, "tls.key: %s: no usable private key in it; PEM is expected", key);
	return err;
}

/* ------------------------------------------------------------------ sessions */

static void forget(struct kept_session *k)
{
	free(k->server_name);
	SSL_SESSION_free(k->session);
	*k = (struct kept_session){ 0 };
}

static struct kept_session *find_session(struct tls_client *c, const char *server_name)
{
	for (int i = 0; i < SESSIONS_MAX; i++)
		if (c->sessions[i].session && !strcmp(c->sessions[i].server_name, server_name))
			return &c->sessions[i];
	return NULL;
}

static void keep_session(struct tls *t, SSL_SESSION *session)
{
	struct tls_client *c = t->client;
	struct kept_session *k = find_session(c, t->server_name);

	if (!k) {
		k = &c->sessions[c->next_session++ % SESSIONS_MAX];
		forget(k);
		k->server_name = strdup(t->server_name);
		if (!k->server_name)
			return;
	}
	SSL_SESSION_free(k->session);
	/* A copy: OpenSSL marks its own as bad when the connection breaks, and that is the
	 * very moment at which it is wanted. */
	k->session = SSL_SESSION_dup(session);
	if (!k->session)
		forget(k);
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *t = SSL_get_app_data(ssl);

	if (SSL_SESSION_is_resumable(session))
		keep_session(t, session);
	return 0;
}

/* Takes it out: TLS 1.3 tickets are for one use (RFC 8446, C.4); a new one follows. */
static void offer_session(struct tls *t)
{
	struct kept_session *k = find_session(t->client, t->server_name);
	X509 *cert;

	if (!k)
		return;
	/* A resumption shows no certificate, so an expired one would go on for hours. */
	cert = SSL_SESSION_get0_peer(k->session);
	if (cert && X509_cmp_current_time(X509_get0_notAfter(cert)) > 0)
		SSL_set_session(t->ssl, k->session);
	forget(k);
}

/* ------------------------------------------------------------------ the client */

static int on_cert_wanted(SSL *ssl, void *arg)
{
	struct tls *t = SSL_get_app_data(ssl);

	(void)arg;
	t->cert_wanted = true;
	return 1;
}

static int on_verify(int ok, X509_STORE_CTX *store_ctx);

static int client_init(struct tls_client *c, const struct tls_opts *opts, struct text *text)
{
	struct loading l = { 0 };
	SSL_CTX *ctx;
	int err;

	ctx = c->ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx || !bio_method())
		return -ENOMEM;
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
		return -EIO;
	/* 112 bits: RSA and DH from 2048, no SHA-1 in signatures. */
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	/* One read for a header and its record, and often for several. */
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
	SSL_CTX_set_cert_cb(ctx, on_cert_wanted, NULL);
	SSL_CTX_set_session_cache_mode(ctx,
				       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(ctx, on_new_session);

	l.store = SSL_CTX_get_cert_store(ctx);
	if (opts->ca) {
		err = load_given(&l, opts->ca, text);
		/* What was named is trusted as it is, be it an intermediate or the server's own. */
		X509_STORE_set_flags(l.store, X509_V_FLAG_PARTIAL_CHAIN);
	} else {
		err = load_system(&l, text);
	}
	if (!err && (opts->cert || opts->key)) {
		err = load_cert(ctx, opts, text);
		c->has_cert = !err;
	}
	return err;
}

int tls_client_new(const struct tls_opts *opts, char *text, size_t text_size,
		   struct tls_client **ret)
{
	_cleanup_(tls_client_freep) struct tls_client *c = NULL;
	struct text t = { text, text_size, 0 };
	int err;

	if (text_size)
		text[0] = '\0';
	/* No openssl.cnf: it may load code (engines, providers), which a static binary can not. */
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return -EIO;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	err = client_init(c, opts, &t);
	if (err && !t.len)
		add(&t, "tls: %s", strerror(-err));
	ERR_clear_error();
	if (err)
		return err;
	*ret = TAKE_PTR(c);
	return 0;
}

void tls_client_free(struct tls_client *c)
{
	if (!c)
		return;
	for (int i = 0; i < SESSIONS_MAX; i++)
		forget(&c->sessions[i]);
	SSL_CTX_free(c->ctx);
	free(c);
}

/* ------------------------------------------------------------------ the connection */

static int set_name(struct tls *t)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
	unsigned char addr[16];

	if (inet_pton(AF_INET, t->server_name, addr) == 1 ||
	    inet_pton(AF_INET6, t->server_name, addr) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(param, t->server_name) == 1 ? 0 : -ENOMEM;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (SSL_set1_host(t->ssl, t->server_name) != 1 ||
	    SSL_set_tlsext_host_name(t->ssl, t->server_name) != 1)
		return -ENOMEM;
	return 0;
}

/* RFC 8446, 4.6.3: type 24, three bytes of length, update_not_requested (0) in an answer. */
static void on_message(int is_write, int version, int content_type, const void *data, size_t len,
		       SSL *ssl, void *arg)
{
	const uint8_t *p = data;
	struct tls *t = arg;

	(void)version;
	(void)ssl;
	if (!is_write && content_type == SSL3_RT_HANDSHAKE && len == 5 &&
	    p[0] == SSL3_MT_KEY_UPDATE && p[4] == SSL_KEY_UPDATE_NOT_REQUESTED &&
	    t->receipts < t->asked) /* else it wanted new keys, as it may at any time */
		t->receipts++;
}

int tls_new(struct tls_client *client, int fd, const char *server_name, struct tls **ret)
{
	_cleanup_(tls_freep) struct tls *t = NULL;
	size_t len = strlen(server_name);
	BIO *bio;
	int err;

	/* RFC 6066, 3: without the trailing dot. */
	if (len && server_name[len - 1] == '.')
		len--;
	if (!len || len > NAME_MAX_BYTES)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->client = client;
	t->fd = fd;
	t->server_name = strndup(server_name, len);
	t->ssl = SSL_new(client->ctx);
	bio = BIO_new(bio_method());
	if (!t->server_name || !t->ssl || !bio) {
		BIO_free(bio);
		return -ENOMEM;
	}
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_app_data(t->ssl, t);
	SSL_set_msg_callback(t->ssl, on_message);
	SSL_set_msg_callback_arg(t->ssl, t);
	SSL_set_connect_state(t->ssl);
	err = set_name(t);
	if (err)
		return err;
	offer_session(t);
	*ret = TAKE_PTR(t);
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	free(t->server_name);
	free(t);
}

/* ------------------------------------------------------------------ why it failed */

/* OpenSSL calls this with ok = 0 at the first fault, when the certificate is at hand. */
static int on_verify(int ok, X509_STORE_CTX *store_ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = SSL_get_app_data(ssl);
	X509 *cert = X509_STORE_CTX_get_current_cert(store_ctx);
	int error = X509_STORE_CTX_get_error(store_ctx);
	struct text text = { t->text, sizeof(t->text), 0 };

	if (ok)
		return 1;
	if (!cert) {
		add(&text, "certificate: %s", X509_verify_cert_error_string(error));
		return 0;
	}
	switch (error) {
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_UNTRUSTED:
		add(&text, "unknown CA: the certificate was issued by ");
		add_name(&text, X509_get_issuer_name(cert));
		add(&text,
		    ", which is not trusted here; give its CA with tls.ca, or let the server "
		    "send its whole chain");
		break;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		add(&text, "unknown CA: the chain ends at ");
		add_name(&text, X509_get_subject_name(cert));
		add(&text, ", which is not trusted here; give its CA with tls.ca");
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		add(&text, "self-signed certificate of ");
		add_name(&text, X509_get_subject_name(cert));
		add(&text, "; to trust it, give this certificate with tls.ca");
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		add(&text, "certificate expired: that of ");
		add_name(&text, X509_get_subject_name(cert));
		add(&text, " ended at ");
		add_time(&text, X509_get0_notAfter(cert));
		add(&text, ", and now it is ");
		add_now(&text);
		add(&text, "; renew it, or check the clock");
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		add(&text, "certificate not yet valid: that of ");
		add_name(&text, X509_get_subject_name(cert));
		add(&text, " begins at ");
		add_time(&text, X509_get0_notBefore(cert));
		add(&text, ", and now it is ");
		add_now(&text);
		add(&text, "; check the clock");
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		add(&text, "name mismatch: the certificate is for ");
		add_cert_names(&text, cert);
		add(&text, ", not for %s; if that is the right server, set tls.server_name",
		    t->server_name);
		break;
	case X509_V_ERR_EE_KEY_TOO_SMALL:
	case X509_V_ERR_CA_KEY_TOO_SMALL:
	case X509_V_ERR_CA_MD_TOO_WEAK:
		add(&text, "weak certificate: that of ");
		add_name(&text, X509_get_subject_name(cert));
		add(&text, ": %s; at least RSA 2048 and SHA-256 are needed",
		    X509_verify_cert_error_string(error));
		break;
	default:
		add(&text, "certificate of ");
		add_name(&text, X509_get_subject_name(cert));
		add(&text, ": %s", X509_verify_cert_error_string(error));
	}
	return 0;
}

static void explain_alert(struct tls *t, int alert, struct text *text)
{
	/* OpenSSL has no words for this one. */
	const char *name = alert == SSL_AD_CERTIFICATE_REQUIRED ? "certificate required"
								: SSL_alert_desc_string_long(alert);

	switch (alert) {
	case SSL_AD_CERTIFICATE_REQUIRED:
		goto cert_required;
	case SSL_AD_HANDSHAKE_FAILURE:
	case SSL_AD_INSUFFICIENT_SECURITY:
		if (t->cert_wanted && !t->client->has_cert)
			goto cert_required;
		add(text,
		    "no common cipher: the server refuses what we offer (alert \"%s\"); it must "
		    "allow a cipher and a curve of TLS 1.2 or 1.3",
		    name);
		return;
	case SSL_AD_PROTOCOL_VERSION:
		add(text,
		    "the server does not speak TLS 1.2 or later (alert \"%s\"); it must be "
		    "upgraded",
		    name);
		return;
	case SSL_AD_NO_CERTIFICATE:
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
		if (t->cert_wanted && !t->client->has_cert)
			goto cert_required;
		if (!t->cert_wanted)
			break;
		add(text,
		    "the server refuses our client certificate (alert \"%s\"); tls.cert must be "
		    "valid and come from a CA that it trusts",
		    name);
		return;
	case SSL_AD_UNRECOGNIZED_NAME:
		add(text,
		    "the server does not know the name %s (alert \"%s\"); check the host, or "
		    "tls.server_name",
		    t->server_name, name);
		return;
	default:
		break;
	}
	add(text, "the server ended TLS with alert \"%s\"", name);
	return;

cert_required:
	add(text,
	    "the server requires a client certificate (alert \"%s\"); give one with tls.cert "
	    "and tls.key",
	    name);
}

/* RFC 8446, 5.1: a record's type is 20 to 24. */
static bool is_tls_answer(const struct tls *t)
{
	return t->n_first && t->first[0] >= 20 && t->first[0] <= 24;
}

static void explain_local(struct tls *t, unsigned long error, struct text *text)
{
	/* Record header, handshake header, then the version of a ServerHello. */
	bool is_hello = t->n_first >= 11 && t->first[0] == 22 && t->first[5] == 2;
	unsigned minor;

	switch (ERR_GET_REASON(error)) {
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_WRONG_SSL_VERSION:
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_VERSION_TOO_LOW:
		minor = is_hello && t->first[9] == 3 ? t->first[10] : 0;
		if (minor == 1 || minor == 2)
			add(text,
			    "the server speaks only TLS 1.%u; at least TLS 1.2 is needed, so it "
			    "must be upgraded",
			    minor - 1);
		else
			add(text,
			    "the server does not speak TLS 1.2 or later; it must be upgraded");
		return;
	default:
		add(text, "TLS failed: %s", openssl_reason(error));
	}
}

static int explain(struct tls *t, unsigned long error)
{
	struct text text = { t->text, sizeof(t->text), 0 };
	int reason = ERR_GET_REASON(error);

	/* on_verify() knew more. */
	if (error && reason == SSL_R_CERTIFICATE_VERIFY_FAILED && t->text[0])
		return -EPROTO;
	if (error && ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET &&
	    reason <= SSL_AD_REASON_OFFSET + 255) {
		explain_alert(t, reason - SSL_AD_REASON_OFFSET, &text);
	} else if (!t->ready && t->n_first && !is_tls_answer(t)) {
		add(&text, "the server does not speak TLS on this port: it says \"");
		add_foreign(&text, t->first, t->n_first);
		add(&text, "\"; check the port");
	} else if (error) {
		explain_local(t, error, &text);
	} else if (t->eof && !t->ready) {
		add(&text, "the server closed the connection in the handshake%s",
		    t->n_first ? "" : "; check that this port speaks TLS");
	} else if (t->eof) {
		add(&text, "the server closed the connection without a TLS close_notify");
		return -ECONNABORTED;
	} else if (t->io_errno == ETIMEDOUT) {
		add(&text, "nothing was acknowledged for too long, the peer is gone");
	} else if (t->io_errno) {
		add(&text, "%s%s", strerror(t->io_errno), t->ready ? "" : " in the handshake");
	} else {
		add(&text, "TLS failed without a reason");
	}
	return -EPROTO;
}

/* What a call's result means; 0 for "the peer sent close_notify". */
static int result(struct tls *t, int ret)
{
	unsigned long error = 0;

	switch (SSL_get_error(t->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		t->wants = EPOLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		t->wants = EPOLLOUT;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SSL:
		error = ERR_peek_error();
		break;
	default:
		break;
	}
	ret = explain(t, error);
	ERR_clear_error();
	return ret;
}

int tls_handshake(struct tls *t)
{
	SSL_SESSION *session;
	int ret;

	ERR_clear_error();
	ret = SSL_do_handshake(t->ssl);
	if (ret != 1) {
		ret = result(t, ret);
		/* close_notify before there was anything to close. */
		if (!ret) {
			t->eof = true;
			ret = explain(t, 0);
		}
		return ret;
	}
	t->ready = true;
	/* TLS 1.2 announces only new sessions, and a resumed one may be used again. */
	if (SSL_session_reused(t->ssl) && SSL_version(t->ssl) == TLS1_2_VERSION &&
	    !find_session(t->client, t->server_name)) {
		session = SSL_get0_session(t->ssl);
		if (session)
			keep_session(t, session);
	}
	return 0;
}

ssize_t tls_read(struct tls *t, void *p, size_t n)
{
	size_t done;
	int ret;

	ERR_clear_error();
	ret = SSL_read_ex(t->ssl, p, n, &done);
	return ret == 1 ? (ssize_t)done : result(t, ret);
}

bool tls_has_pending(const struct tls *t)
{
	return SSL_has_pending(t->ssl);
}

ssize_t tls_write(struct tls *t, const void *p, size_t n)
{
	size_t done;
	int ret;

	ERR_clear_error();
	ret = SSL_write_ex(t->ssl, p, n, &done);
	t->write_pending = ret != 1;
	if (ret == 1)
		return (ssize_t)done;
	ret = result(t, ret);
	return ret ? ret : -EPROTO;
}

int tls_ask_receipt(struct tls *t)
{
	int ret;

	if (SSL_version(t->ssl) < TLS1_3_VERSION)
		return -ENOTSUP;
	/* OpenSSL would put it before the record that waits, or refuse. */
	if (t->write_pending || SSL_get_key_update_type(t->ssl) != SSL_KEY_UPDATE_NONE)
		return -EAGAIN;
	ERR_clear_error();
	if (SSL_key_update(t->ssl, SSL_KEY_UPDATE_REQUESTED) != 1) {
		ERR_clear_error();
		return -EAGAIN;
	}
	t->asked++;
	/* What the socket does not take now goes out before the next record. */
	ret = SSL_do_handshake(t->ssl);
	if (ret == 1)
		return 0;
	ret = result(t, ret);
	return ret == -EAGAIN ? 0 : ret ? ret : -EPROTO;
}

uint64_t tls_receipts(const struct tls *t)
{
	return t->receipts;
}

int tls_shutdown(struct tls *t)
{
	int ret;

	if (SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)
		return 0;
	ERR_clear_error();
	ret = SSL_shutdown(t->ssl);
	return ret >= 0 ? 0 : result(t, ret);
}

uint32_t tls_wants(const struct tls *t)
{
	return t->wants;
}

const char *tls_error(const struct tls *t)
{
	return t->text;
}

const char *tls_describe(const struct tls *t, char *text, size_t size)
{
	const char *cipher = SSL_get_cipher_name(t->ssl);

	snprintf(text, size, "%s %s%s", SSL_get_version(t->ssl), cipher ? cipher : "",
		 SSL_session_reused(t->ssl) ? ", resumed" : "");
	return text;
}

int tls_get_peer(const struct tls *t, struct tls_peer *ret)
{
	X509 *cert = SSL_get0_peer_certificate(t->ssl);
	struct text names = { ret->names, sizeof(ret->names), 0 };
	struct text issuer = { ret->issuer, sizeof(ret->issuer), 0 };
	int seconds;

	if (!cert)
		return -ENOENT;
	*ret = (struct tls_peer){ 0 };
	add_cert_names(&names, cert);
	add_name(&issuer, X509_get_issuer_name(cert));
	if (ASN1_TIME_diff(&ret->days_left, &seconds, NULL, X509_get0_notAfter(cert)) != 1)
		ret->days_left = -1;
	return 0;
}
