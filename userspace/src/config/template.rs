//! The configuration that `sealdns config template` prints, which is the manual as well.

/// A configuration with every setting at its default, and why the default is what it is.
pub const TEMPLATE: &str = r##"# sealdns configuration. Every setting is shown with its default.
# Durations: "10s" "15m" "1h30m" "2w". Sizes: "512MiB". Relative paths start at this file's folder.
# `sealdns config check FILE` reports errors with line and column.

# The format of this file. Required, so that a later format can never be misread.
version = "v1"

[server]
# UDP and TCP sockets: the addresses clients ask, for example ["192.0.2.1:53", "[2001:db8::1]:53"].
# Wildcards are refused: an answer must leave from the address that was asked, and XDP answers only
# on addresses it knows. Empty: no sockets; another name server on this host serves what XDP does
# not. An address that the host does not have yet is listened on all the same, with a warning: a routing
# daemon or keepalived may give it to the host once `sealdns health` exits 0.
listen = []
# The socket that the other sealdns commands talk to. Mode 0600: whoever may open it controls the daemon.
# What is changed through it is in the log, with the user who asked. A file there that is no socket is left alone.
control = "/run/sealdns/control.sock"
# Keys and state: of each zone its last serial and what was served last, signed, for the next start; and without
# a name the records of large zones. Made with mode 0700. Of all this only `keys` cannot be made again: back it up.
# One daemon has it at a time, and `user` must be able to use what is in it.
state-dir = "/var/lib/sealdns"
# The user to become once sockets are bound and XDP is attached, so that no code that reads the
# network runs as root. Empty: the daemon stays the user that started it.
user = ""
# What id.server and hostname.bind (class CH, type TXT) say, to tell anycast nodes apart (RFC 4892).
# Empty: refused.
identity = ""
# What version.server and version.bind say. Empty: refused; it mostly helps attackers.
version = ""
# What the EDNS option NSID tells a client that asks for it (RFC 5001), to tell anycast nodes apart: text, or octets
# as "0x" and hexadecimal digits; 128 octets at most. Empty: nothing.
nsid = ""
# Largest UDP response in octets, 512 to 4096. 1232 passes every IPv6 path unfragmented (RFC 9715).
udp-payload = 1232
# A TCP connection that sends no whole query for this long is closed (RFC 7766 section 6.2.3: a few
# seconds). From half of `tcp-connections` on it is the less the more there are, down to a second.
tcp-idle-timeout = "10s"
# A TCP client that does not take its answer for this long is cut off: it would hold memory.
tcp-write-timeout = "10s"
# TCP connections at once. No official reference: each holds 12 KiB between queries and 200 KiB at
# most, so 1000 hold 12 to 200 MiB. When there are as many, a new one takes the place of the one that has been
# idle longest, of the client that holds the most. File descriptors for them are got at start (RLIMIT_NOFILE);
# if there are too few, fewer connections are taken, with a warning.
tcp-connections = 1000
# TCP connections at once from one address (IPv6: one /64), so that one client cannot take all. One more takes
# the place of the one of them that has been idle longest.
tcp-connections-per-client = 100
# How long open TCP connections may take to finish when the daemon stops.
shutdown-timeout = "5s"

[xdp]
# Interfaces whose queries XDP answers, for example ["eth0"]. Empty: no XDP.
interfaces = []
# "auto": the path that `sealdns xdp probe` recommends for each device: in the driver where it can and answers
# leave, else TCX alone, else (before Linux 6.6) generic mode. "native": in the driver. "generic": works on every
# device, slower. "tcx": no XDP; a program on TCX (Linux 6.6) answers alone, behind whatever XDP program of others
# there is. That is the quickest where all packets come from sockets of this host (veth, containers): XDP would
# be given a copy of each. What is known to lose all answers is refused, with the command that mends it.
mode = "auto"
# Whether the daemon ends, with exit code 1, if it cannot load or attach what `mode` asks for. `false`: it says why,
# serves by its sockets, and `sealdns health` exits 3.
required = false
# Some devices hand XDP packets with no room for an answer: veth and other virtual devices, and generic
# mode. There a program on TCX (Linux 6.6) answers on the socket buffer behind XDP. "auto": on such
# devices. "on": on all. "off": the daemon's sockets answer what XDP has no room for. `sealdns xdp probe`
# tells what a device needs.
tcx = "auto"
# UDP ports answered in XDP.
ports = [53]
# Destination addresses answered in XDP. Empty: the addresses of `listen`.
addresses = []
# Queries for names in none of the zones here. "on": XDP says REFUSED, as the daemon does. "off": XDP passes them on.
# "auto": "on" if `listen` names addresses; without, another name server on this host may have the zone.
# While a zone that is configured is not loaded, they are passed on.
refuse = "auto"
# Memory for the maps that hold compiled zones. No official reference: half a million typical names.
# They start small and grow up to it; with `user` set they are made this large at start, since only
# root can make maps. While they grow, the old maps are there as well. A zone for which they may not
# grow is held in part: XDP has the names that are asked for often, and the daemon answers the rest.
memory = "512MiB"
# A folder of sealdns's own on a BPF file system, such as "/sys/fs/bpf/sealdns", mode 0700: what is pinned
# there outlives the daemon. If the daemon crashes, XDP goes on answering, until signatures expire, and
# the next daemon takes it over once its zones are loaded, without a lost query; until then both have
# maps. It is root's, with `user` too: a folder that another owns, or may write to, is refused, and no
# symbolic link is followed. Empty: XDP ends with the daemon, however it ends, and nothing can be left behind.
pin = ""
# What becomes of pinned XDP when the daemon is told to end: "detach": no answers come from a server that
# was stopped. "keep": it goes on answering, so that restarts and upgrades go unnoticed; to end it,
# `sealdns xdp detach --all`.
on-exit = "detach"

[cookies]
# DNS cookies (RFC 7873): a client that sends back the cookie that it was given has not forged its address.
# They cost clients and servers nearly nothing. `false`: the option is ignored.
enabled = true
# The secret that cookies are made with, 32 hexadecimal digits, the same on all servers of an address (RFC
# 9018) or they would not accept each other's. Empty, and no file: a random one at each start.
secret = ""
# A second secret that is accepted as well. To change secrets: write the new one here, on all servers; then make
# it `secret` and the old one `other-secret`; after an hour remove the old one (RFC 9018 section 5).
other-secret = ""
# A file that holds the secret on its first line and the other one on its second, if there is one, readable
# by its owner only. It is read again when the daemon is told to reload. Empty: none.
secret-file = ""
# Change secrets by the clock: for each such period, counted from 1970, one is derived from the secret
# (HKDF with SHA-256), the same on all servers that know it. No less than two hours, for example "1d".
# Empty: the secret itself is used.
derive = ""

[ratelimit]
# Whether responses over UDP are limited, so that nobody can use this server against a third party
# whose address is forged. "off"; "dry-run": everybody is answered, and clients that would be limited are counted
# and listed by `sealdns ratelimit top`; "on". Start with "dry-run".
# The words of BIND (responses-per-second, nxdomains-per-second, ipv4-prefix-length, exempt-clients,
# log-only, …) and of Knot (rate-limit, instant-limit, whitelist, dry-run) are understood where they mean
# the same; `sealdns ratelimit import FILE` translates the rest.
mode = "off"
# Responses per second of one class about one name to one netblock (all of a wildcard's count at the
# wildcard, names that do not exist at their closest encloser). 0: no limit. 50 is Knot's, well above
# what a resolver that caches asks.
rate = 50
# The same for one class only: a number, or "rate": that of `rate`.
positive-rate = "rate"
nodata-rate = "rate"
nxdomain-rate = "rate"
referral-rate = "rate"
# REFUSED, FORMERR, SERVFAIL, NOTIMP, BADVERS.
error-rate = "rate"
dnskey-rate = "rate"
any-rate = "rate"
# Responses of a class that may come at once after a pause. 0: as many as its rate (BIND's way).
burst = 0
# For how long a netblock that keeps asking over its rate stays in debt and gets nothing. "0s": it gets
# its rate all the same. BIND's is "15s"; at most "1h".
window = "0s"
# Of the responses over a rate every n-th is sent cut short, with TC, so that an honest client asks
# over TCP. 1: all are, which does not lower the number of packets. 0: none; a limited client then sees
# no response, and is easier to deceive. At most 10. 2 is BIND's and NSD's.
slip = 2
# Errors have no shorter form: of those over their rate every n-th is sent whole. 0: none. At most 10.
leak = 2
# Length of the prefix of netblocks for these rates. 24 and 56 are BIND's.
ipv4-prefix = 24
ipv6-prefix = 56
# All responses per second to one netblock, whatever they are, at several prefix lengths at once: times
# the multiplier of `ipv4-levels` and `ipv6-levels`. A client that floods from all over a network is
# limited as a network. 0: no limit. 200 is four times `rate` (BIND's advice). Knot's rate-limit.
total-rate = 200
# So many at once after a pause, times the multiplier. 0: as many as `total-rate`. Knot's instant-limit.
total-burst = 0
# The same for what is over a total: a number, or "slip": that of `slip` in this section, so that
# setting `slip` alone changes all limits, as in BIND.
total-slip = "slip"
# At most 4 and 5. The defaults are Knot's.
ipv4-levels = ["/32 x1", "/24 x32", "/20 x256", "/18 x768"]
ipv6-levels = ["/128 x1", "/64 x2", "/56 x3", "/48 x4", "/32 x64"]
# When there are more queries per second than this, all rates fall in proportion. 0: never.
qps-scale = 0
# What a response costs. "response": one. "amplification": its octets divided by the query's, so that
# what is worth most to an attacker is limited first; totals too, as soon as it is known what is said.
cost = "response"
# Queries per second of one netblock (`ipv4-prefix`, `ipv6-prefix`) that XDP passes up to the daemon. A
# client has no reason to ask the daemon more often than that over UDP. 0: no limit.
miss-rate = 50
# The same of all clients together, so that nobody floods the daemon with what only it answers. No
# official reference: a tenth of what one core of the daemon answers. 0: no limit.
miss-total-rate = 10000
# Clients that are never limited: ["192.0.2.0/24", "2001:db8::/32"].
exempt = []
# A file with more of them, one a line; large lists are welcome. Empty: none.
exempt-file = ""

[health]
# `sealdns health` (exit 3 if anything is wrong) warns when less than this is left until a zone's first signature
# expires. For a zone that sealdns signs, half of `refresh` counts if that is less: by then signing again has
# failed for as long. No official reference: a weekend, and a day to mend it.
warn-before = "3d"

[policy.default]
# The algorithm of new keys, "ECDSAP256SHA256", "ECDSAP384SHA384" or "ED25519". The default is
# small, fast, and validated everywhere (RFC 9904).
algorithm = "ECDSAP256SHA256"
# "ksk-zsk": a KSK that the parent's DS points to, and a ZSK that can change without the parent.
# "csk": one key for everything.
keys = "ksk-zsk"
# "nsec": small and fast. "nsec3": hides names from zone walking; 0 iterations, no salt (RFC 9276).
# "nsec3-opt-out": smaller where most names are delegations without DS (RFC 5155 section 6).
denial = "nsec"
# What is said to ANY (RFC 8482). "rrset": one RRset of the name. "hinfo": a synthesised HINFO "RFC8482", of
# which nobody can amplify much; it costs one more signature and some 250 octets for each name, and is in no
# transfer and no zone file. Names with a CNAME or with HINFO records of their own say one RRset, and so do
# zones that are presigned, for which there is no key.
any = "rrset"
# Whether zones have a digest of themselves (ZONEMD, RFC 8976: scheme SIMPLE, SHA-384), by which who was sent a zone sees
# that it is whole. It is made anew whenever the zone is signed again, from all of its records.
zonemd = false
# From signing to expiration: two weeks leave time to repair a broken signer.
signature-validity = "2w"
# Zones are signed again when less than this is left until their first signature expires: half the validity.
refresh = "1w"

# One section per zone:
# [[zone]]
# # The apex.
# name = "example.com"
# # The master file (RFC 1035 section 5).
# file = "example.com.zone"
# # "sign": sealdns signs, with keys made on first use, and never again by itself. "presigned": the file is signed already.
# # "off": not signed.
# dnssec = "sign"
# # The [policy.NAME] it is signed by.
# policy = "default"
# # Address prefixes that may transfer the zone (AXFR), for example ["192.0.2.0/24"]. Empty:
# # refused.
# allow-transfer = []
# # Whether the signatures of a presigned file are verified before it is served. For a large zone that
# # takes most of the time (a million signatures: 30 seconds of a core); false is for files whose maker
# # has verified them. What did not change since the version before is never verified again.
# verify = true
# # When `health` warns of its signatures, if not as [health] says.
# warn-before = "3d"
# # What the zone does otherwise than [ratelimit]; at most 31 zones. Here stand mode, rate and the rates of
# # classes, burst, window, slip, leak, prefixes, qps-scale, cost. The rest is the same for all zones: it
# # counts before it is known which zone it is.
# [zone.ratelimit]
"##;
