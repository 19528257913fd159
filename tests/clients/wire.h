// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the device clients of this folder share below TLS: options, time, and a socket that reaches loopback only, never
// outlives its deadline, can be as slow as a small chip, and looks at the record headers that pass by.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_OK, EXIT_USAGE, EXIT_TLS, EXIT_HTTP };
enum { REC_CCS = 20, REC_ALERT = 21, REC_HANDSHAKE = 22, REC_DATA = 23 };

// ---- options --------------------------------------------------------------------------------------------------------
static struct {
    const char *connect, *sni, *anchor, *session, *request, *end;
    long long in, pause_ms, rate, stop_after, abort_after, timeout_s;
} want = { .end = "notify", .in = 16384, .stop_after = -1, .abort_after = -1, .timeout_s = 60 };

struct option_row {
    const char *name;
    enum { TEXT, NUMBER, FLAG } kind;
    void *to;
    const char *help;
};

#define COMMON_OPTIONS \
    { "connect", TEXT, &want.connect, "127.x.y.z:PORT, needed; nothing but loopback is accepted" }, \
    { "sni", TEXT, &want.sni, "server name to send (and to check with --anchor); none if absent" }, \
    { "anchor", TEXT, &want.anchor, "PEM file, the only trusted root; without it nothing is verified" }, \
    { "session", TEXT, &want.session, "resume from this file if it exists; write it after the handshake" }, \
    { "request", TEXT, &want.request, "file with the raw request; stdin if absent" }, \
    { "end", TEXT, &want.end, "after the answer: notify (close_notify, then FIN), fin (bare close), wait (server first)" }, \
    { "in", NUMBER, &want.in, "receive content buffer, 512..16384 bytes" }, \
    { "pause-ms", NUMBER, &want.pause_ms, "sleep between the server's first flight and our second" }, \
    { "rate", NUMBER, &want.rate, "read the answer at so many bytes per second, with a small TCP window" }, \
    { "stop-after", NUMBER, &want.stop_after, "hang up after so many body bytes (0: after the head)" }, \
    { "abort-after", NUMBER, &want.abort_after, "same, but reset the connection" }, \
    { "timeout-s", NUMBER, &want.timeout_s, "give up after so many seconds in all (60)" }

static void usage(const char *wrong, const struct option_row *rows, size_t n)
{
    fprintf(stderr, "cannot use: %s\n", wrong);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "  --%-14s %s\n", rows[i].name, rows[i].help);
    exit(EXIT_USAGE);
}

static void read_options(int argc, char **argv, const struct option_row *rows, size_t n)
{
    for (int i = 1; i < argc; i++) {
        const struct option_row *row = NULL;
        for (size_t k = 0; k < n && strncmp(argv[i], "--", 2) == 0; k++)
            if (strcmp(argv[i] + 2, rows[k].name) == 0)
                row = &rows[k];
        if (row == NULL)
            usage(argv[i], rows, n);
        if (row->kind == FLAG) {
            *(bool *)row->to = true;
            continue;
        }
        if (++i == argc)
            usage("value missing", rows, n);
        if (row->kind == TEXT) {
            *(const char **)row->to = argv[i];
            continue;
        }
        char *end;
        long long value = strtoll(argv[i], &end, 10);
        if (*argv[i] == 0 || *end != 0 || value < 0 || value > 1000000000000)
            usage(argv[i], rows, n);
        *(long long *)row->to = value;
    }
    bool end_known = !strcmp(want.end, "notify") || !strcmp(want.end, "fin") || !strcmp(want.end, "wait");
    if (want.connect == NULL || !end_known || want.in < 512 || want.in > 16384)
        usage("--connect, --end or --in: missing or out of range", rows, n);
}

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "%s: %s\n", what, detail);
    exit(EXIT_USAGE);
}

// Whole file (stdin if path is NULL), with a zero byte behind it; NULL if it cannot be read.
static unsigned char *read_file(const char *path, size_t *len)
{
    FILE *f = path ? fopen(path, "rb") : stdin;
    if (f == NULL)
        return NULL;
    const size_t most = 1 << 20;
    unsigned char *data = malloc(most + 1);
    *len = fread(data, 1, most, f);
    data[*len] = 0;
    if (path)
        fclose(f);
    return data;
}

// Session files hold a master secret: for the owner only.
static void write_private(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, len) != (ssize_t)len)
        die(path, strerror(errno));
    close(fd);
}

// ---- time -----------------------------------------------------------------------------------------------------------
static double deadline;  // ms

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

// ---- the wire -------------------------------------------------------------------------------------------------------
static struct {
    int fd;
    bool handshaking, heard, paused;  // for --pause-ms
    bool timed_out;
    const char *ended;                // how the server's side of TCP ended: "fin", "reset"; NULL while open
    unsigned char head[5];            // header of the current incoming record: type, version, length
    size_t head_have, body_left;
    bool encrypted;                   // ChangeCipherSpec has come in
    size_t max_handshake, max_data;   // longest clear handshake record, longest application record (as on the wire)
    unsigned data_records;            // application records begun
    double paced_since;               // for --rate; 0 when reading at full speed
    long long paced;
} wire = { .fd = -1 };

static bool nap(double ms)
{
    double left = deadline - now_ms();
    double take = ms < left ? ms : left;
    if (take > 0)
        usleep((useconds_t)(take * 1e3));
    wire.timed_out |= take < ms;
    return take >= ms;
}

static bool wire_wait(short events)
{
    struct pollfd p = { .fd = wire.fd, .events = events };
    double left = deadline - now_ms();
    int n;
    do
        n = poll(&p, 1, left > 0 ? (int)left + 1 : 0);
    while (n < 0 && errno == EINTR);
    wire.timed_out |= n <= 0;
    return n > 0;
}

// NULL, or why there is no connection.
static const char *wire_connect(void)
{
    char ip[32];
    struct sockaddr_in to = { .sin_family = AF_INET };
    const char *colon = strrchr(want.connect, ':');
    size_t n = colon ? (size_t)(colon - want.connect) : 0;
    if (n == 0 || n >= sizeof ip)
        die(want.connect, "not ADDRESS:PORT");
    memcpy(ip, want.connect, n);
    ip[n] = 0;
    if (inet_pton(AF_INET, ip, &to.sin_addr) != 1 || ntohl(to.sin_addr.s_addr) >> 24 != 127)
        die(want.connect, "only 127.0.0.0/8 is allowed");
    to.sin_port = htons((uint16_t)atoi(colon + 1));
    wire.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(wire.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (want.rate > 0) {
        // lwIP's numbers (MSS 1460, window 4 x MSS). The kernel doubles SO_RCVBUF and counts its own bookkeeping in it.
        int window = 4 * 1460, mss = 1460;
        setsockopt(wire.fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
        setsockopt(wire.fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof mss);
    }
    int err = connect(wire.fd, (struct sockaddr *)&to, sizeof to) == 0 ? 0 : errno;
    if (err == EINPROGRESS) {
        socklen_t len = sizeof err;
        if (!wire_wait(POLLOUT))
            return "timeout";
        getsockopt(wire.fd, SOL_SOCKET, SO_ERROR, &err, &len);
    }
    return err ? strerror(err) : NULL;
}

static size_t record_length(void)
{
    return (size_t)wire.head[3] << 8 | wire.head[4];
}

// Follows the record layer; the TLS library sees the same bytes.
static void wire_track(const unsigned char *p, size_t n)
{
    while (n > 0) {
        if (wire.body_left > 0) {
            size_t take = n < wire.body_left ? n : wire.body_left;
            wire.body_left -= take;
            p += take;
            n -= take;
            if (wire.body_left == 0)
                wire.head_have = 0;
            continue;
        }
        wire.head[wire.head_have++] = *p++;
        n--;
        if (wire.head_have < 5)
            continue;
        wire.body_left = record_length();
        if (wire.body_left == 0)
            wire.head_have = 0;
        if (wire.head[0] == REC_CCS)
            wire.encrypted = true;
        if (wire.head[0] == REC_HANDSHAKE && !wire.encrypted && record_length() > wire.max_handshake)
            wire.max_handshake = record_length();
        if (wire.head[0] == REC_DATA) {
            wire.data_records++;
            if (record_length() > wire.max_data)
                wire.max_data = record_length();
        }
    }
}

// Bytes read, 0 at the end of the stream, -1 on reset or timeout.
static int wire_read(void *to, size_t len)
{
    if (wire.paced_since > 0) {
        double ahead_ms = wire.paced * 1e3 / want.rate - (now_ms() - wire.paced_since);
        if (ahead_ms > 0 && !nap(ahead_ms))
            return -1;
        size_t sip = want.rate > 8 ? want.rate / 8 : 1;
        len = len < sip ? len : sip;
    }
    for (;;) {
        ssize_t n = recv(wire.fd, to, len, 0);
        if (n > 0) {
            wire.heard = true;
            wire.paced += n;
            wire_track(to, n);
            return (int)n;
        }
        if (n == 0) {
            wire.ended = "fin";
            return 0;
        }
        if (errno == EAGAIN && wire_wait(POLLIN))
            continue;
        if (errno != EINTR) {
            wire.ended = wire.timed_out ? NULL : "reset";
            return -1;
        }
    }
}

// All of it, or -1.
static int wire_write(const void *from, size_t len)
{
    if (want.pause_ms > 0 && wire.handshaking && wire.heard && !wire.paused) {
        wire.paused = true;
        if (!nap(want.pause_ms))
            return -1;
    }
    for (size_t done = 0; done < len;) {
        ssize_t n = send(wire.fd, (const char *)from + done, len - done, MSG_NOSIGNAL);
        if (n > 0)
            done += n;
        else if (errno != EINTR && !(errno == EAGAIN && wire_wait(POLLOUT))) {
            wire.ended = wire.timed_out ? NULL : "reset";
            return -1;
        }
    }
    return (int)len;
}
