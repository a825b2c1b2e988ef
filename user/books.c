/* SPDX-License-Identifier: Apache-2.0 */
/* The table of what is counted, and the lines that are printed at the exit. */
#include "user/books.h"

#include <string.h>

const struct books_scope_row books_scopes[BOOKS_SCOPES] = {
	[BOOKS_DAEMON] = { "daemon", NULL, false, "The collector as a whole." },
	[BOOKS_KERNEL] = { "kernel", "source", true,
			   "What the BPF programs of a source saw, since they were attached: "
			   "these numbers outlive the collector." },
	[BOOKS_RING] = { "ring", "ring", false, "A ring between kernel and collector." },
	[BOOKS_SOURCE] = { "source", "source", true,
			   "What the collector made of it, since it was started." },
	[BOOKS_NAMES] = { "names", NULL, true,
			  "What flows are called, since the collector was started." },
	[BOOKS_CONTAINERS] = { "containers", NULL, true,
			       "What containers are called, since the collector was started." },
	[BOOKS_NAT] = { "nat", NULL, true,
			"What this host translates of its flows, since the collector was started." },
	[BOOKS_UNOWNED] = { "unowned", "protocol", false,
			    "Packets of no socket, as the kernel itself counts them in the "
			    "collector's network namespace." },
	[BOOKS_SPOOL] = { "spool", NULL, true, "The spool on the disk." },
	[BOOKS_OUTPUT] = { "output", "output", true,
			   "What became of what was appended, for as long as the spool exists." },
	[BOOKS_LOSS] = { "loss", "reason", true,
			 "Each loss, and how much of it was sent as an event, for as long as "
			 "the spool exists." },
	[BOOKS_PROCESS] = { "process", "process", false, "The two processes." },
	[BOOKS_PROGRAM] = { "program", "program", false,
			    "What the kernel says that a BPF program costs; times and runs only "
			    "with kernel.bpf_stats_enabled = 1." },
};

#define DAEMON(f)     .scope = BOOKS_DAEMON, .offset = offsetof(struct books_daemon, f)
#define KERNEL(f)     .scope = BOOKS_KERNEL, .offset = offsetof(struct kernel_counters, f)
#define RING(f)	      .scope = BOOKS_RING, .offset = offsetof(struct books_ring, f)
#define SOURCE(f)     .scope = BOOKS_SOURCE, .offset = offsetof(struct source_stats, f)
#define NAMES(f)      .scope = BOOKS_NAMES, .offset = offsetof(struct names_stats, f)
#define CONTAINERS(f) .scope = BOOKS_CONTAINERS, .offset = offsetof(struct container_names_stats, f)
#define SPOOL(f)      .scope = BOOKS_SPOOL, .offset = offsetof(struct books_spool, f)
#define OUTPUT(f)     .scope = BOOKS_OUTPUT, .offset = offsetof(struct books_output, f)
#define LOSS(f)	      .scope = BOOKS_LOSS, .offset = offsetof(struct books_loss, f)
#define PROCESS(f)    .scope = BOOKS_PROCESS, .offset = offsetof(struct books_process, f)
#define PROGRAM(f)    .scope = BOOKS_PROGRAM, .offset = offsetof(struct kernel_program, f)
#define NAT(f)	      .scope = BOOKS_NAT, .offset = offsetof(struct nat_stats, f)
#define UNOWNED(f)    .scope = BOOKS_UNOWNED, .offset = offsetof(struct unowned_packets, f)

/* A row is read as a row. */
/* clang-format off */
const struct books_row books_rows[] = {
	{ DAEMON(uptime_ns), .key = "uptime", .kind = BOOKS_GAUGE, .unit = BOOKS_NS,
	  .help = "Since the collector was started" },
	{ DAEMON(rate), .key = "events_per_second", .kind = BOOKS_GAUGE,
	  .help = "Events appended a second, since the start" },
	{ DAEMON(rate_minute), .key = "events_per_second_minute", .kind = BOOKS_GAUGE,
	  .help = "Events appended a second, over the last minute" },
	{ DAEMON(shipper_starts), .key = "shipper_starts",
	  .help = "Shipper processes that were started" },
	{ DAEMON(shipper_deaths), .key = "shipper_deaths",
	  .help = "Shipper processes that ended without being asked to" },
	{ DAEMON(shipper_failures), .key = "shipper_failures",
	  .help = "Attempts to start a shipper that failed" },
	{ DAEMON(stuck_ns), .key = "stuck", .kind = BOOKS_GAUGE, .unit = BOOKS_NS,
	  .help = "For how long nothing could be written into the spool; 0: it can" },
	{ DAEMON(monitor_requests), .key = "monitor_requests",
	  .help = "Requests that the monitor socket answered" },
	{ DAEMON(monitor_refused), .key = "monitor_refused",
	  .help = "Clients of the monitor socket that were refused, too slow or made no sense" },

	{ KERNEL(seen), .key = "seen", .always = true,
	  .help = "Flows begun, messages read by a log daemon, or kernel events" },
	{ KERNEL(submitted), .key = "submitted", .always = true,
	  .help = "Flows ended and reported, or messages and kernel events handed over" },
	{ KERNEL(filtered), .key = "filtered", .always = true,
	  .help = "Left out by the configuration, such as flows from this host to itself, and forks that end without having executed anything" },
	{ KERNEL(ring_full), .key = "ring_full", .always = true,
	  .help = "Lost: the ring was full, because the collector did not keep up or was away",
	  .lost = "lost", .cause = "the ring was full", .cure = "a larger one holds more" },
	{ KERNEL(no_room), .key = "no_room", .always = true,
	  .help = "Lost: the table of flows was full (what is not TCP is summed up by source network), or a message could not be read",
	  .lost = "lost", .cause = "no room", .cure = "a larger flows.max follows more flows at once" },
	{ KERNEL(live), .key = "live", .kind = BOOKS_GAUGE, .always = true,
	  .help = "Seen and going on" },
	{ KERNEL(reports), .key = "reports",
	  .help = "Reports of flows that go on, beside those of ended ones" },
	{ KERNEL(reports_put_off), .key = "reports_put_off",
	  .help = "Such reports that the ring had no room for; the next one has it all, nothing is lost" },
	{ KERNEL(missed), .key = "missed",
	  .help = "Lost: the kernel did not show how the flow ended",
	  .lost = "lost", .cause = "the kernel did not show their end" },
	{ KERNEL(summed_packets), .key = "summed_packets",
	  .help = "Packets of flows that the table had no room for, summed up by source network" },
	{ KERNEL(summed_bytes), .key = "summed_bytes", .unit = BOOKS_BYTES,
	  .help = "Their bytes" },
	{ KERNEL(adopted), .key = "adopted",
	  .help = "Flows that had begun before the capture; they are reported without their start" },
	{ KERNEL(truncated), .key = "truncated",
	  .help = "Messages handed over without all of their bytes, which their text says, and execs without their arguments",
	  .lost = "cut short", .cause = "not all of their bytes could be copied" },
	{ KERNEL(skipped), .key = "skipped",
	  .help = "Runs of our programs that the kernel did not make, for they do not nest; an event may be missing for each",
	  .lost = "perhaps lost", .cause = "the kernel did not run the program" },

	{ RING(size), .key = "size", .kind = BOOKS_GAUGE, .unit = BOOKS_BYTES,
	  .help = "The ring's size" },
	{ RING(fill), .key = "fill", .kind = BOOKS_GAUGE, .unit = BOOKS_BYTES,
	  .help = "What waits in it now" },

	{ SOURCE(samples), .key = "samples", .always = true,
	  .help = "What was taken from the ring or the kernel's log" },
	{ SOURCE(records), .key = "records", .always = true,
	  .help = "Events made of it and appended to the spool" },
	{ SOURCE(bad), .key = "bad",
	  .help = "Lost: samples that no program of ours wrote",
	  .lost = "lost", .cause = "the samples were not ours; is something else writing there?" },
	{ SOURCE(filtered), .key = "filtered",
	  .help = "Left out: not for us, empty lines, journal lines that the configuration does not want, or entries of the journal that were captured" },
	{ SOURCE(own), .key = "own",
	  .help = "Left out: our own connections to the intake, our own log lines, what our own processes do" },
	{ SOURCE(rate_limited), .key = "rate_limited",
	  .help = "Left out: lines above journal.rate_limit; an event for each unit says how many" },
	{ SOURCE(too_large), .key = "too_large",
	  .help = "Lost: records that the spool would not take",
	  .lost = "lost", .cause = "larger than an event may be" },
	{ SOURCE(lost), .key = "lost",
	  .help = "Lost: gaps in the kernel log's numbers, no memory to keep it while the spool was stuck, or the kernel's queue of file changes was full (once for each time, and for each file that could not be held)",
	  .lost = "lost", .cause = "gone before they could be read" },

	{ SOURCE(limited), .key = "limited",
	  .help = "How often journal.backfill or journal.backfill_max cut a backfill short; an event says what is missing" },

	{ NAMES(answers), .key = "answers", .always = true,
	  .help = "DNS answers that were understood" },
	{ NAMES(hellos), .key = "hellos", .always = true,
	  .help = "TLS and QUIC client hellos that were understood" },
	{ NAMES(parts), .key = "parts",
	  .help = "Packets with a part of a hello, or of an answer over TCP, beside the one that completed it" },
	{ NAMES(malformed), .key = "malformed", .always = true,
	  .help = "Packets from which no sense could be made, or whose names no host can have" },
	{ NAMES(incomplete), .key = "incomplete",
	  .help = "Hellos, and answers over TCP, of which a part was missing: they name nothing" },
	{ NAMES(flows_named), .key = "flows_named", .always = true,
	  .help = "Reports of flows that got a destination.domain" },
	{ NAMES(flows_with_hello), .key = "flows_with_tls", .always = true,
	  .help = "Reports of flows that got a tls" },
	{ NAMES(addresses), .key = "addresses", .kind = BOOKS_GAUGE,
	  .help = "Entries in the table of addresses" },
	{ NAMES(flows), .key = "flows", .kind = BOOKS_GAUGE,
	  .help = "Entries in the table of connections" },
	{ NAMES(evicted_addresses), .key = "evicted", .always = true,
	  .help = "Addresses that were forgotten, the least recently used ones, for others" },
	{ NAMES(evicted_flows), .key = "evicted_flows", .always = true,
	  .help = "The same of connections; most of them were of flows that are not captured" },

	{ CONTAINERS(entries), .key = "known", .kind = BOOKS_GAUGE,
	  .help = "Containers in the table, those of which nothing was found too" },
	{ CONTAINERS(lookups), .key = "lookups", .always = true,
	  .help = "Times that the files of the host were looked at for one" },
	{ CONTAINERS(found), .key = "found", .always = true,
	  .help = "Containers of which a name was found" },
	{ CONTAINERS(put_off), .key = "put_off",
	  .help = "Records of containers that were told by their ids, because too many were new in that second" },
	{ CONTAINERS(malformed), .key = "malformed",
	  .help = "Names that no pod, container or image can have: left out" },
	{ CONTAINERS(cut), .key = "cut",
	  .help = "Folders and files of which there was more than what is looked at" },
	{ CONTAINERS(evicted), .key = "evicted",
	  .help = "Containers that were forgotten, the least recently used ones, for others" },
	{ NAT(asked), .key = "asked", .always = true,
	  .help = "Reports of flows of which the kernel's connection tracking was asked" },
	{ NAT(translated), .key = "translated", .always = true,
	  .help = "Those that were translated" },
	{ NAT(unanswered), .key = "unanswered",
	  .help = "Not answered within 20 ms, or not asked within a second of such a failure: the reports lack what there may have been to tell" },
	{ NAT(unreached), .key = "unreached",
	  .help = "Reports of another network namespace of which no process was there any more: they lack what it may translate itself" },
	{ NAT(forgotten), .key = "forgotten",
	  .help = "Network namespaces that are asked anew whether they translate, as others had taken their place" },

	{ UNOWNED(sent), .key = "sent",
	  .help = "Sent by the kernel itself: resets of TCP, those of sockets too; errors, answers and neighbour messages of ICMP, which are flows as well; packets that were forwarded" },
	{ UNOWNED(received), .key = "received",
	  .help = "Arrived for no socket: datagrams to a UDP port where nobody listens, protocols that nobody speaks; and all messages of ICMP" },

	{ SPOOL(appended), .key = "appended", .always = true,
	  .help = "Events ever written into this spool" },
	{ SPOOL(bytes), .key = "bytes", .kind = BOOKS_GAUGE, .unit = BOOKS_BYTES, .always = true,
	  .help = "Of its files now" },
	{ SPOOL(max_bytes), .key = "max_bytes", .kind = BOOKS_GAUGE, .unit = BOOKS_BYTES,
	  .help = "Its limit, spool.max_bytes" },
	{ SPOOL(oldest_ns), .key = "oldest", .kind = BOOKS_GAUGE, .unit = BOOKS_NS,
	  .help = "Age of its oldest file: no event waits for longer" },
	{ SPOOL(torn_bytes), .key = "torn_bytes", .unit = BOOKS_BYTES,
	  .help = "Cut away when it was opened: a batch that was not whole, and was taken again" },
	{ SPOOL(dropped_segments), .key = "dropped_segments",
	  .help = "Files deleted because of the limit, before all outputs had them" },
	{ SPOOL(commit_errors), .key = "commit_errors",
	  .help = "Batches that could not be written at once; nothing is lost by that" },

	{ OUTPUT(acknowledged), .key = "acknowledged", .always = true,
	  .help = "The intake has them" },
	{ OUTPUT(rejected), .key = "rejected", .always = true,
	  .help = "Lost: the intake refuses them for good",
	  .lost = "lost", .cause = "the intake refuses them" },
	{ OUTPUT(filtered), .key = "filtered",
	  .help = "Not for this output, which sends flows alone" },
	{ OUTPUT(dropped), .key = "dropped", .always = true,
	  .help = "Lost: the spool was at its limit, of bytes or of age, before the intake had taken them",
	  .lost = "lost", .cause = "the spool was at its limit", .cure = "a larger spool.max_bytes holds more" },
	{ OUTPUT(dropped_old), .key = "dropped_old",
	  .help = "Of the dropped: those that were older than spool.max_age" },
	{ OUTPUT(dropped_journal), .key = "dropped_journal",
	  .help = "Of the dropped: journal lines" },
	{ OUTPUT(dropped_flows), .key = "dropped_flows", .help = "Of the dropped: flows" },
	{ OUTPUT(dropped_kernel), .key = "dropped_kernel",
	  .help = "Of the dropped: kernel events" },
	{ OUTPUT(dropped_self), .key = "dropped_self",
	  .help = "Of the dropped: what the collector told about itself" },
	{ OUTPUT(damaged), .key = "damaged", .always = true,
	  .help = "Lost: they did not survive on the disk",
	  .lost = "lost", .cause = "they did not survive on the disk" },
	{ OUTPUT(waiting), .key = "waiting", .kind = BOOKS_GAUGE, .always = true,
	  .help = "In the spool, not acknowledged yet" },
	{ OUTPUT(before), .key = "before",
	  .help = "Had come and gone when this output was first used" },
	{ OUTPUT(dead_lettered), .key = "dead_lettered",
	  .help = "Of the rejected: set aside in the spool's folder dead" },
	{ OUTPUT(dead_unwritten), .key = "dead_unwritten",
	  .help = "Of the rejected: could not be set aside" },
	{ OUTPUT(dead_dropped), .key = "dead_dropped",
	  .help = "Of those set aside: pushed out since by output.dead_letter_max_bytes" },
	{ OUTPUT(sent), .key = "sent", .always = true,
	  .help = "Handed to the transport, repeats after a lost connection included" },
	{ OUTPUT(sent_bytes), .key = "sent_bytes", .unit = BOOKS_BYTES,
	  .help = "The same in bytes, framed, before TLS" },
	{ OUTPUT(connects), .key = "connects",
	  .help = "Connections that came to the point of sending" },
	{ OUTPUT(failures), .key = "failures",
	  .help = "Attempts and connections that ended with an error" },

	{ LOSS(lost), .key = "lost", .always = true, .help = "Events lost for this reason" },
	{ LOSS(told), .key = "told", .always = true,
	  .help = "As many of them were told in loss events; the rest follows within a minute" },

	{ PROCESS(pid), .key = "pid", .kind = BOOKS_GAUGE, .help = "Its number" },
	{ PROCESS(rss), .key = "resident", .kind = BOOKS_GAUGE, .unit = BOOKS_BYTES,
	  .help = "Its resident memory" },
	{ PROCESS(cpu_ns), .key = "cpu", .unit = BOOKS_NS, .help = "CPU time, user and system" },

	{ PROGRAM(runs), .key = "runs", .help = "How often it ran" },
	{ PROGRAM(run_ns), .key = "run", .unit = BOOKS_NS, .help = "How long it ran" },
	{ PROGRAM(skipped), .key = "skipped", .help = "Runs that the kernel did not make" },
	{ 0 },
};
/* clang-format on */

const struct books_item *books_find(const struct books *b, enum books_scope scope, const char *name)
{
	for (int i = 0; i < b->n_items; i++)
		if (b->items[i].scope == scope && (!name || !strcmp(b->items[i].name, name)))
			return &b->items[i];
	return NULL;
}

/* What exec saw is no event: it says who an event is about. */
bool books_is_shown(const struct books_item *item)
{
	return item->scope != BOOKS_KERNEL || strcmp(item->name, "processes") != 0;
}

void books_print(FILE *f, const struct books *b)
{
	for (int i = 0; i < b->n_items; i++) {
		const struct books_item *item = &b->items[i];
		const struct books_scope_row *scope = &books_scopes[item->scope];

		if (!scope->in_lines || !books_is_shown(item))
			continue;
		fprintf(f, "books: %s%s%s", scope->name, item->name[0] ? "." : "", item->name);
		for (const struct books_row *row = books_rows; row->key; row++) {
			uint64_t value;

			if (row->scope != item->scope)
				continue;
			value = books_value(item, row);
			if (row->always || (value && row->kind == BOOKS_COUNTER))
				fprintf(f, " %s=%llu", row->key, (unsigned long long)value);
		}
		fputc('\n', f);
	}
}

void books_put_reference(FILE *f)
{
	for (int scope = 0; scope < BOOKS_SCOPES; scope++) {
		fprintf(f, "### %s\n\n%s\n\n| key | metric | meaning |\n| --- | --- | --- |\n",
			books_scopes[scope].name, books_scopes[scope].help);
		for (const struct books_row *row = books_rows; row->key; row++) {
			char metric[BOOKS_METRIC_SIZE];

			if (row->scope != (enum books_scope)scope)
				continue;
			books_metric_name(row, metric);
			fprintf(f, "| %s | `%s` | %s |\n", row->key, metric, row->help);
		}
		fputc('\n', f);
	}
}
