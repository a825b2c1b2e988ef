/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What values must look like beyond their type, and what must hold between
 * them. Pure: looks at text, never at files, names or the network.
 */
#define _GNU_SOURCE
#include "config/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "config/private.h"

/* The names of output_types[]; those to the intake need a key. */
static const struct {
	const char *name;
	bool intake;
} outputs[] = {
	{ "https", true },     { "relp", true },    { "syslog", true }, { "ipfix", false },
	{ "netflow9", false }, { "stdout", false }, { "file", false },
};
#define N_OUTPUTS (sizeof(outputs) / sizeof(*outputs))

/* Sekoia's forwarder wants 16 alphanumerics first; the keys it gives have 32. */
const char *config_check_intake_key(char *value)
{
	size_t len = strlen(value);
	bool good = len >= 16 && len <= 128;

	for (size_t i = 0; i < len; i++)
		good &= isascii(value[i]) && isalnum((unsigned char)value[i]);
	return good ? NULL : "is not an intake key; allowed: 16 to 128 letters and digits";
}

static int find_output(const char *p, size_t len)
{
	for (size_t i = 0; i < N_OUTPUTS; i++)
		if (strlen(outputs[i].name) == len && strncmp(outputs[i].name, p, len) == 0)
			return (int)i;
	return -1;
}

/* "https, file" reads well: the blanks go. */
static void drop_blanks(char *value)
{
	char *to = value;

	for (const char *p = value; *p; p++)
		if (*p != ' ')
			*to++ = *p;
	*to = '\0';
}

const char *config_check_outputs(char *value)
{
	unsigned seen = 0;

	drop_blanks(value);
	for (const char *p = value;; p++) {
		size_t len = strcspn(p, ",");
		int i = find_output(p, len);

		if (i < 0)
			return "is not an output; allowed: https, relp, syslog, ipfix, netflow9, stdout, "
			       "file, or several of them with commas";
		if (seen & 1u << i)
			return "names an output twice; allowed: each of https, relp, syslog, ipfix, "
			       "netflow9, stdout, file once";
		seen |= 1u << i;
		p += len;
		if (!*p)
			return NULL;
	}
}

const char *config_check_drop_order(char *value)
{
	static const char *const names[] = { "journal", "flows", "kernel" };
	unsigned seen = 0;

	drop_blanks(value);
	if (strcmp(value, "oldest") == 0)
		return NULL;
	for (const char *p = value;; p++) {
		size_t len = strcspn(p, ","), i = 0;

		while (i < 3 && (strlen(names[i]) != len || strncmp(names[i], p, len) != 0))
			i++;
		if (i == 3)
			return "is not an order; allowed: journal, flows, kernel in any order, with "
			       "commas, or oldest";
		if (seen & 1u << i)
			return "names something twice; allowed: each of journal, flows, kernel once";
		seen |= 1u << i;
		p += len;
		if (!*p)
			return NULL;
	}
}

bool config_is_name(const char *s, size_t len)
{
	size_t label = 0;

	if (!len || len > 253)
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (i == len || s[i] == '.') {
			if (!label || label > 63 || s[i - 1] == '-' || s[i - label] == '-')
				return false;
			label = 0;
		} else if (isascii(s[i]) &&
			   (isalnum((unsigned char)s[i]) || s[i] == '-' || s[i] == '_')) {
			label++;
		} else {
			return false;
		}
	}
	return true;
}

bool config_is_ipv6(const char *s, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr ip;

	if (len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	return inet_pton(AF_INET6, text, &ip) == 1;
}

const char *config_check_host(char *value)
{
	size_t len = strlen(value);

	/* An IPv4 address has the form of a name. */
	return config_is_name(value, len) || config_is_ipv6(value, len)
		       ? NULL
		       : "is not a host; allowed: a name or an address, without scheme, brackets, port or path";
}

/* RFC 5424, 6: HOSTNAME is 1 to 255 visible ASCII characters. */
const char *config_check_hostname(char *value)
{
	size_t len = strlen(value);
	bool good = len <= 255;

	for (size_t i = 0; i < len; i++)
		good &= value[i] >= '!' && value[i] <= '~';
	return good ? NULL : "is not a host name; allowed: 1 to 255 visible ASCII characters";
}

const char *config_check_path(char *value)
{
	size_t len = strlen(value);

	if (value[0] != '/')
		return "is not a path of an address; allowed: /what/comes/before/array";
	for (size_t i = 0; i < len; i++)
		if (value[i] <= ' ' || value[i] > '~' || strchr("?#\"<>\\^`{|}", value[i]))
			return "has a character that no path of an address has; write it as %XX";
	while (len && value[len - 1] == '/')
		value[--len] = '\0';
	return NULL;
}

static bool is_port(const char *s)
{
	unsigned n = 0;
	size_t len = strlen(s);

	if (!len || len > 5)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		n = n * 10 + (unsigned)(*s - '0');
	}
	return n >= 1 && n <= 65535;
}

#define PROXY_FORM "; allowed: http://[user:password@]host:port"

const char *config_check_proxy(char *value)
{
	size_t len = strlen(value), host_len;
	char *host, *at, *port;

	if (strncasecmp(value, "https://", 8) == 0)
		return "names a proxy that itself speaks TLS, which is not supported; what passes through "
		       "an http proxy is encrypted all the same" PROXY_FORM;
	if (strncasecmp(value, "socks", 5) == 0)
		return "names a SOCKS proxy, which is not supported" PROXY_FORM;
	if (strncasecmp(value, "http://", 7) != 0)
		return "is not the address of an HTTP proxy" PROXY_FORM;
	memcpy(value, "http", 4);
	if (value[len - 1] == '/' && len > 7)
		value[--len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (value[i] <= ' ' || value[i] > '~')
			return "has a blank or a special character in it; write it as %XX" PROXY_FORM;
	host = value + 7;
	at = strrchr(host, '@');
	if (at)
		host = at + 1;
	port = strrchr(host, ':');
	if (!port || !is_port(port + 1))
		return "has no port, or one that is not 1 to 65535" PROXY_FORM;
	host_len = (size_t)(port - host);
	if (config_is_name(host, host_len))
		return NULL;
	if (host_len > 2 && host[0] == '[' && host[host_len - 1] == ']' &&
	    config_is_ipv6(host + 1, host_len - 2))
		return NULL;
	return "has no host name or address (IPv6 in brackets) where one is due" PROXY_FORM;
}

/* ------------------------------------------------------------- between values */

/* Is type one of the outputs? */
static bool has_output(const struct config *c, const char *type)
{
	for (const char *p = c->output; *p; p++) {
		size_t len = strcspn(p, ",");

		if (strlen(type) == len && strncmp(p, type, len) == 0)
			return true;
		p += len;
		if (!*p)
			break;
	}
	return false;
}

const char *config_hosts(const struct config *c, const char *output)
{
	if (strcmp(output, "ipfix") == 0)
		return c->ipfix_host;
	if (strcmp(output, "netflow9") == 0)
		return c->netflow9_host;
	return c->output_host;
}

uint16_t config_port(const struct config *c, const char *output)
{
	if (strcmp(output, "ipfix") == 0)
		return c->ipfix_port ? (uint16_t)c->ipfix_port
				     : CONFIG_PORT_IPFIX + (c->ipfix_transport == IPFIX_OVER_TLS);
	if (strcmp(output, "netflow9") == 0)
		return (uint16_t)c->netflow9_port;
	return (uint16_t)c->output_port;
}

/* The outputs that send flows in binary, from the IPFIX names of the stored record. */
static void check_ipfix(const struct config *c, const char *name, struct config_errors *e)
{
	if (!has_output(c, name))
		return;
	if (!config_hosts(c, name))
		config_error(e, "output.type: the %s output needs %s.host (--%s-host HOST)", name,
			     name, name);
	if (c->flows_schema == FLOW_SCHEMA_ECS)
		config_error(
			e,
			"flows.schema: the %s output needs the IPFIX names of a flow, which ecs "
			"leaves out; allowed with it: both, ipfix",
			name);
}

bool config_has_intake_output(const struct config *c)
{
	for (size_t i = 0; i < N_OUTPUTS; i++)
		if (outputs[i].intake && has_output(c, outputs[i].name))
			return true;
	return false;
}

void config_check_all(const struct config *c, struct config_errors *e)
{
	if (has_output(c, "file") && !c->output_file)
		config_error(e,
			     "output.type: the file output needs output.file (--output-file FILE)");
	check_ipfix(c, "ipfix", e);
	check_ipfix(c, "netflow9", e);
	if (c->tls_cert && !c->tls_key)
		config_error(e, "tls.cert: needs its private key in tls.key (--tls-key FILE)");
	if (c->tls_key && !c->tls_cert)
		config_error(e, "tls.key: needs its certificate in tls.cert (--tls-cert FILE)");
}

bool config_no_proxy_has(const char *list, const char *host)
{
	size_t host_len = strlen(host);

	while (*list) {
		size_t len = strcspn(list, ", ");
		const char *p = list;

		list += len + (list[len] != '\0');
		if (len == 1 && *p == '*')
			return true;
		if (len && *p == '*') {
			p++;
			len--;
		}
		if (len && *p == '.') {
			p++;
			len--;
		}
		if (!len || len > host_len || strncasecmp(host + host_len - len, p, len) != 0)
			continue;
		if (len == host_len || host[host_len - len - 1] == '.')
			return true;
	}
	return false;
}

/* Whoever is on this host may read it; nobody else. */
int config_parse_listen(const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;
	const char *rest = text;
	char host[64];
	uint16_t port;

	memset(ret, 0, sizeof(*ret));
	if (config_parse_target(&rest, host, sizeof(host), &port) < 0 || *rest || !port)
		return -EINVAL;
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		return ntohl(four->sin_addr.s_addr) >> 24 == 127 ? 0 : -EINVAL;
	}
	if (inet_pton(AF_INET6, host, &six->sin6_addr) != 1)
		return -EINVAL;
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ? 0 : -EINVAL;
}

const char *config_check_listen(char *value)
{
	struct sockaddr_storage at;

	return config_parse_listen(value, &at)
		       ? "is no place to listen at; allowed: a loopback "
			 "address with a port, as 127.0.0.1:9477 or [::1]:9477"
		       : NULL;
}
