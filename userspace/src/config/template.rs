//! The configuration that `sealdns config template` prints, which is the manual as well.

/// A configuration with every setting at its default, and why the default is what it is.
pub const TEMPLATE: &str = r##"# sealdns configuration. Every setting is shown with its default.
# Durations: "10s" "15m" "1h30m" "2w". Sizes: "512MiB". Relative paths start at this file's folder.
# `sealdns config check FILE` reports errors with line and column.

# The format of this file. Required, so that a later format can never be misread.
version = "v1"
# Other files to read, for example ["zones.d/*.toml"]: `*` and `?` may stand in the last part of a path, and what they stand
# for is read in the order of the names. A file that is included may have [[zone]], [template.NAME], [policy.NAME], [[tsig]]
# and `include`, and its relative paths start at its own folder. No file is read twice.
include = []

[server]
# The addresses and ports of the UDP and TCP sockets, for example ["192.0.2.1:53", "[2001:db8::1]:53"].
# "0.0.0.0:53" and "[::]:53" are all addresses of a family: each answer leaves from the address that its query was
# sent to, and XDP answers on the addresses that its interfaces have at the time. Empty: no sockets; another name
# server on this host answers what XDP does not ([front]). The daemon also listens on an address that the host does not have
# yet, and warns: a routing daemon or keepalived may give the address to the host once `sealdns health` exits 0.
listen = []
# The addresses of the sockets for DNS over TLS (RFC 7858, TLS 1.3), port 853 unless another is written, for example
# ["192.0.2.1", "[2001:db8::1]:853"]. Zones are transferred over them, too (RFC 9103), to whom `allow-transfer` names.
# Empty: none.
listen-tls = []
# The certificate for these, with those above it, and its private key, in PEM. Only `user` may be able to read the
# key. Both are read again on a reload. Empty: none.
tls-certificate = ""
tls-key = ""
# Address prefixes of proxies that say of each query who has sent it (PROXY protocol version 2), over UDP, TCP and TLS,
# for example ["192.0.2.0/24"]. Rate limits, cookies and `allow-transfer` then go by that client. What comes from
# these addresses without such a header is dropped. Only proxies may be able to send from them.
proxy-from = []
# The socket that the other sealdns commands talk to. Mode 0600: a process that may open it controls the daemon.
# Each change made through it is in the log, with the user who made it. A file of this name that is not a socket
# is not replaced: the daemon does not start.
control = "/run/sealdns/control.sock"
# The directory of keys and state: the last serial of each zone and the signed zone that was served last, for the
# next start; and files without a name that hold the records of large zones. It is made with mode 0700. Only the
# keys, in `keys`, cannot be made again: back them up. One daemon uses the directory at a time, and `user` must be
# able to read and write all files in it.
state-dir = "/var/lib/sealdns"
# The user that the daemon becomes once sockets are bound and XDP is attached, so that no code that reads from
# the network runs as root. Empty: the daemon stays the user that started it.
user = ""
# The text that answers queries for id.server and hostname.bind (class CH, type TXT), to tell anycast nodes apart
# (RFC 4892). Empty: such queries are refused.
identity = ""
# The text that answers queries for version.server and version.bind. Empty: such queries are refused; an answer
# mostly helps attackers.
version = ""
# The name server identifier (EDNS option NSID, RFC 5001) that a client gets if it asks for it, to tell anycast nodes
# apart: text, or octets as "0x" and hexadecimal digits; 128 octets at most. Empty: none.
nsid = ""
# Largest UDP response in octets, 512 to 4096. 1232 passes every IPv6 path unfragmented (RFC 9715).
udp-payload = 1232
# A TCP connection on which no complete query arrives for this long is closed (RFC 7766 section 6.2.3: a few
# seconds). When more than half of `tcp-connections` are open, the time falls with their number, down to one second.
# A client that asks how long that is gets told (edns-tcp-keepalive, RFC 7828).
tcp-idle-timeout = "10s"
# A TCP connection whose client does not read its answer for this long is closed, since the answer takes memory.
tcp-write-timeout = "10s"
# The most TCP connections that are open at once. No official reference: each takes 12 KiB between queries and
# 200 KiB at most, so that 1000 take 12 to 200 MiB. When there are as many, a new connection takes the place of
# another: of the client with the most connections, the one that has been idle longest. At start the daemon raises
# its limit of file descriptors (RLIMIT_NOFILE); if it may not have enough, it warns and accepts fewer connections.
tcp-connections = 1000
# The most TCP connections from one address (IPv6: one /64), so that one client cannot have them all. When a client
# has as many, its next connection takes the place of the one that has been idle longest.
tcp-connections-per-client = 100
# How long open TCP connections may take to finish when the daemon stops.
shutdown-timeout = "5s"
# How large a transfer from a primary may be, in octets of its messages, and how long it may take. What is larger or slower
# is given up, and the version that is served stays.
transfer-size = "2GiB"
transfer-timeout = "1h"

[xdp]
# Interfaces whose queries XDP answers, for example ["eth0"]. Empty: no XDP.
interfaces = []
# "auto": the path that `sealdns xdp probe` recommends for each device: in the driver where it can and answers
# leave, else TCX alone, else (before Linux 6.6) generic mode. "native": in the driver. "generic": works on every
# device, slower. "tcx": no XDP; a program on TCX (Linux 6.6) answers alone, behind whatever XDP program of others
# there is. That is the quickest where all packets come from sockets of this host (veth, containers), since the
# kernel copies each packet for XDP. A mode in which all answers are known to be lost is refused, and the error
# names the command that mends it.
mode = "auto"
# Whether the daemon ends, with exit code 1, if it cannot load or attach the programs that `mode` asks for. `false`:
# the daemon logs why, answers from its sockets, and `sealdns health` exits 3.
required = false
# Some devices hand XDP packets with no room for an answer: veth and other virtual devices, and generic
# mode. There a program on TCX (Linux 6.6) answers from the socket buffer, after XDP. "auto": on such devices.
# "on": on all devices. "off": the daemon's sockets answer what XDP has no room for. `sealdns xdp probe` shows
# what a device needs.
tcx = "auto"
# UDP ports answered in XDP.
ports = [53]
# Destination addresses answered in XDP, at most 16. Empty: the addresses of `listen`; where that has a wildcard,
# those of `interfaces` (but for link-local ones), looked for each second. Addresses of other interfaces, such as
# an anycast address of "lo", must be named here.
addresses = []
# Queries for names that are in none of the configured zones. "on": XDP answers REFUSED, as the daemon does. "off":
# XDP passes them to the network stack. "auto": "on" if `listen` names addresses, else "off", since another name
# server on this host may have the zone. While a configured zone is not loaded, they are passed in any case.
refuse = "auto"
# Memory for the maps that hold compiled zones. No official reference: half a million typical names.
# The maps start small and grow up to this size; with `user` set they have it from the start, since only root can
# make maps. While maps grow, the old ones take memory as well. A zone for which there is no room is partial: XDP
# has the names that are asked for often, and the daemon answers for all others.
memory = "512MiB"
# A folder on a BPF file system that only sealdns uses, such as "/sys/fs/bpf/sealdns", mode 0700. Programs and
# maps are pinned there and outlive the daemon: if it crashes, XDP goes on answering until signatures expire. The
# next daemon takes XDP over once its zones are loaded, without a lost query; until then there are maps of both.
# The folder must belong to root, with `user` too: a folder that another user owns or may write to is refused, and
# symbolic links are not followed. Empty: XDP ends with the daemon, even if it crashes.
pin = ""
# Pinned XDP when the daemon is stopped. "detach": XDP ends too, so that a stopped server sends no answers. "keep":
# XDP goes on answering, so that clients do not notice a restart or an upgrade; `sealdns xdp detach --all` ends it.
on-exit = "detach"

[cookies]
# DNS cookies (RFC 7873): a client that sends the cookie that this server has given it has not forged its address.
# Cookies cost clients and servers nearly nothing. `false`: the option is ignored.
enabled = true
# The secret that cookies are made with, 32 hexadecimal digits. All servers with the same address must have the same
# secret (RFC 9018), or they do not accept each other's cookies. Empty, and no `secret-file`: a random secret at each
# start.
secret = ""
# A second secret: cookies made with it are accepted too. To change secrets, write the new secret here, on all
# servers; then make it `secret` and the old one `other-secret`; after an hour remove the old one (RFC 9018
# section 5).
other-secret = ""
# A file with the secret on its first line and the second secret, if there is one, on its second line. Only its
# owner should be able to read it. It is read again on a reload. Empty: none.
secret-file = ""
# Change secrets by the clock: for each period of this length, counted from 1970, a secret is derived from `secret`
# (HKDF with SHA-256), the same on all servers that have it. Two hours or more, for example "1d". Empty: `secret`
# itself is used.
derive = ""

[ratelimit]
# Whether responses over UDP are limited, so that an attacker cannot send answers of this server to a victim whose
# address he forges. "off"; "dry-run": every query is answered, and clients that would be limited are counted and
# listed by `sealdns ratelimit top`; "on". Start with "dry-run".
# Settings may have the names that BIND (responses-per-second, nxdomains-per-second, ipv4-prefix-length,
# exempt-clients, log-only, …) and Knot (rate-limit, instant-limit, whitelist, dry-run) give them, where the meaning
# is the same; `sealdns ratelimit import FILE` translates the others.
mode = "off"
# Responses per second of one class and one name to one netblock. All answers of a wildcard count for the wildcard,
# and names that do not exist for their closest encloser. 0: no limit. 50 is the default of Knot, and well above
# what a resolver with a cache asks for.
rate = 50
# The same for one class only: a number, or "rate" for the value of `rate`.
positive-rate = "rate"
nodata-rate = "rate"
nxdomain-rate = "rate"
referral-rate = "rate"
# REFUSED, FORMERR, SERVFAIL, NOTIMP, BADVERS.
error-rate = "rate"
dnskey-rate = "rate"
any-rate = "rate"
# Responses of a class that may be sent at once after a pause. 0: as many as its rate allows per second, as in BIND.
burst = 0
# A netblock that asks above its rate builds up a debt, of at most as many responses as its rate allows in this time,
# and gets no responses until the debt is paid back by time. "0s": no debt; it gets responses up to its rate. The
# default of BIND is "15s"; at most "1h".
window = "0s"
# Of the responses above a rate every n-th is sent truncated, with TC and no records, so that an honest client asks
# again over TCP. 1: each of them, which does not lower the number of packets. 0: none; a limited client then gets
# no response, and forged answers reach it more easily. At most 10. 2 is the default of BIND and NSD.
slip = 2
# Errors cannot be truncated: of the errors above their rate every n-th is sent whole. 0: none. At most 10.
leak = 2
# The prefix lengths of netblocks for these rates. 24 and 56 are the defaults of BIND.
ipv4-prefix = 24
ipv6-prefix = 56
# Responses per second to one netblock, of all classes and names together, counted at several prefix lengths: this
# number times the multiplier of each prefix length in `ipv4-levels` and `ipv6-levels`. So a flood from many
# addresses of a network is limited as well. 0: no limit. 200 is four times `rate`, as BIND advises. It is
# rate-limit of Knot.
total-rate = 200
# Responses of all classes that may be sent at once after a pause, times the multiplier. 0: as many as `total-rate`.
# It is instant-limit of Knot.
total-burst = 0
# `slip` for responses above `total-rate`: a number, or "slip" for the value of `slip` in this section, so that
# `slip` alone changes all limits, as in BIND.
total-slip = "slip"
# The prefix lengths for `total-rate` with their multipliers, at most 4 and 5. The defaults are those of Knot.
ipv4-levels = ["/32 x1", "/24 x32", "/20 x256", "/18 x768"]
ipv6-levels = ["/128 x1", "/64 x2", "/56 x3", "/48 x4", "/32 x64"]
# When there are more queries per second than this, all rates fall in proportion. 0: never.
qps-scale = 0
# How much a response counts. "response": one. "amplification": its octets divided by those of the query, so that
# the responses that are worth most to an attacker are limited first; in `total-rate` too.
cost = "response"
# Queries per second of one netblock (`ipv4-prefix`, `ipv6-prefix`) that XDP passes to the daemon. No client needs
# more of the answers that only the daemon gives over UDP. 0: no limit.
miss-rate = 50
# The same for all clients together, so that queries that only the daemon answers cannot overload it. No official
# reference: a tenth of what the daemon answers on one core. 0: no limit.
miss-total-rate = 10000
# Clients that are never limited: ["192.0.2.0/24", "2001:db8::/32"].
exempt = []
# A file with more prefixes of such clients, one on each line; the list may be large. Empty: none.
exempt-file = ""

[health]
# `sealdns health` warns (and exits 3) when the first signature of a zone expires in less than this. For a zone that
# sealdns signs, half of `refresh` is used if it is shorter: when so little is left, signing again has already failed
# for as long. No official reference: a weekend, and a day to mend the fault.
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
# The answer to QTYPE ANY (RFC 8482). "rrset": one RRset of the name. "hinfo": a synthesised HINFO record "RFC8482",
# which is of little use for amplification; it takes one more signature and some 250 octets for each name, and is in
# no transfer and no zone file. Names with a CNAME record or with HINFO records of their own are answered with one
# RRset, and so are all names of presigned zones, for which there is no key.
any = "rrset"
# Whether zones contain a digest of themselves (ZONEMD, RFC 8976: scheme SIMPLE, SHA-384), by which the receiver of a
# zone sees that it is complete. It is made from all records whenever the zone is signed again.
zonemd = false
# The time from signing to expiration: two weeks leave time to repair a signer that fails.
signature-validity = "2w"
# Zones are signed again when less than this is left until their first signature expires: half the validity.
refresh = "1w"

# In front of a name server that already runs on this host: that keeps its port and its configuration, and answers all that XDP
# passes on. Zones are transferred from it, so that a [[zone]] section needs nothing but `name`. It requires `listen = []`, and
# in [xdp] `interfaces` and the `addresses` that the server answers on. XDP answers for a zone while it has the serial that the
# server said last, and passes on what the server might answer otherwise: ANY, and EDNS options but a cookie whose secret is
# shared with the server, which is then set in [cookies].
# [front]
# # Where the server is asked and transferred from, with a port if that is not 53. It must allow transfers to this host.
# server = "127.0.0.1"
# # An address and port of loopback at which NOTIFY messages of the server are heard, so that new serials are known at once. Empty:
# # they are known by polling.
# notify = ""
# # How often the server is asked for the serial of each zone. Until then an older version may be answered.
# poll = "1s"
# # How long the older version is answered once a newer serial is known. "0s": queries are passed to the server until the
# # newer version is there.
# serve-behind = "0s"

# One section for each key that is shared with another server (TSIG, RFC 8945):
# [[tsig]]
# # The name of the key, the same on both servers.
# name = "transfer."
# # "hmac-sha256", "hmac-sha384" or "hmac-sha512". "hmac-sha1" is for old servers alone, and warned about. The default is
# # what all servers must have.
# algorithm = "hmac-sha256"
# # The secret in base64, at least 16 octets, as `tsig-keygen` prints it. A configuration that others may read is warned
# # about. Empty: it is in `secret-file`.
# secret = ""
# # A file that holds the secret in base64, and that only `user` may read. One of the two must be set.
# secret-file = ""

# One section per zone. Settings that many zones have in common stand in a section [template.NAME], which may have all that
# [[zone]] has but `name` and `template`:
# [[zone]]
# # The apex.
# name = "example.com"
# # The name of a template. What stands here takes the place of what the template says, and `file` that of its `primaries`
# # (and the other way round). Empty: none.
# template = ""
# # The master file (RFC 1035 section 5). {zone} stands for the zone's name without its last dot, as in
# # "zones/{zone}.zone", most of all in a template; octets of the name that are no letter, digit, "-" or "_" are written
# # as "%" and two hexadecimal digits, and the root zone as "@".
# file = "example.com.zone"
# # In place of `file`: the servers that the zone is transferred from. An entry is an address, with a port if that is not
# # 53, or { address = "192.0.2.53", tsig = "transfer." } where the key is another than that of `tsig`. Over TLS (RFC 9103),
# # port 853 unless another is written, the primary is known by its name, { address = "192.0.2.53", tls = { name =
# # "ns1.example.net", ca-file = "ca.pem" } }, or by SHA-256 digests in base64 of public keys of which it has one,
# # { address = "192.0.2.53", tls = { pins = ["…"] } }; with all three it must be both. They are asked by the
# # times of the zone's SOA record, and when one sends NOTIFY; the next one is asked if one fails. `dnssec` says of the zone
# # that comes what it says of a file.
# primaries = []
# # "sign": sealdns signs the zone; it makes keys on first use and never again by itself. "presigned": the file is
# # already signed. "off": the zone is not signed.
# dnssec = "sign"
# # The [policy.NAME] that the zone is signed by.
# policy = "default"
# # The name of the [[tsig]] that the zone's transfers and NOTIFY messages are signed with, in and out. Empty: they are
# # not signed.
# tsig = ""
# # The servers that are told of each new serial (NOTIFY, RFC 1996), for example ["192.0.2.54", "[2001:db8::54]:53"].
# notify = []
# # Who may transfer the zone (AXFR, IXFR): address prefixes, which must sign with the key of `tsig` if that is set, and
# # keys, which may come from any address, for example ["192.0.2.0/24", "key transfer."]. Empty: refused.
# allow-transfer = []
# # Who may change the zone by dynamic updates (RFC 2136), which must be signed with these keys, and what: of which names
# # ("www.example.com" alone, or with "*.dyn.example.com" all below dyn.example.com), and of which types; without these of
# # all, but for SOA and NS of the apex. What is changed is kept in `state-dir`: the file is what the zone began with, and is
# # read again only by `sealdns zone reload` with the zone's name, which undoes all updates. For example
# # [{ key = "dhcp.", names = ["*.dyn.example.com"], types = ["A", "AAAA"] }]. Empty: nobody.
# allow-update = []
# # When the signatures of a presigned file are verified, which takes most of the time to load a large zone (a million
# # signatures: 30 seconds of one core). "first" (or true): before the zone is served. "background": while it is
# # served; what a validator would refuse is answered SERVFAIL from then on, and `sealdns health` tells it. false:
# # never, for files that another program has verified. Signatures that the version before had too are not verified
# # again. Zones whose signatures are verified are verified whole once a day, in the background.
# verify = "first"
# # What a catalog zone (RFC 9432) is to this server: "consume": the zones that it lists are served here, as soon as it
# # lists them; "produce": it is made here, of the zones that say `in-catalog`, and has neither `file` nor `primaries`;
# # "none": the zone is no catalog. `dnssec` of a catalog is "off" unless it says otherwise: no resolver looks into it.
# catalog = "none"
# # The [template.NAME] that the members of a catalog are served by; it must be set where a catalog is consumed. Members have
# # no limits of their own ([template.NAME.ratelimit]).
# member-template = ""
# # Other templates for members with these groups: { nosign = "plain" }. If a member has several, the first of them counts
# # that is listed here.
# member-groups = {}
# # The name of the catalog, produced here, that the zone is listed in; most of all in a template. Empty: in none.
# in-catalog = ""
# # The group that the zone has there. Empty: none.
# catalog-group = ""
# # When `sealdns health` warns of the signatures of this zone, if not as `warn-before` in [health] says.
# warn-before = "3d"
# # Settings of [ratelimit] that are different for this zone; at most 31 zones have some. Possible are mode, rate and
# # the rates of classes, burst, window, slip, leak, prefixes, qps-scale and cost. All other settings are the same for
# # all zones: they count before the zone of a query is known.
# [zone.ratelimit]
"##;
