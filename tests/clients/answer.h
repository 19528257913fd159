// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the device clients of this folder share above TLS: one HTTP exchange, the hang-up, and one JSON line on stdout.
//
// Exit code: 0 a whole answer of the promised length; 1 usage; 2 no TCP or TLS; 3 no whole HTTP answer.

#include "wire.h"

// ---- supplied by the including client -------------------------------------------------------------------------------
static int tls_write_all(const void *from, size_t len);  // 0, or -1
static int tls_read(void *to, size_t len);               // bytes of one record; 0 after close_notify; -1 on any failure
static void tls_send_close(void);                        // sends our close_notify
static void md5_add(const void *from, size_t len);
static void md5_end(unsigned char out[16]);

// ---- the answer -----------------------------------------------------------------------------------------------------
static struct {
    char head[16384];
    size_t head_len;
    bool head_whole, no_body;
    int status;
    long long length, body, trailing;  // length: Content-Length or -1; trailing: bytes behind the end of the answer
    unsigned first_record;             // number of the first record with body bytes
    long long first_record_bytes;      // how many of them it held: 1 to 3 break an ESP8266 (peekBytes(4))
} answer = { .length = -1 };

// Next header line of the head: name and value, not terminated. `at` starts as NULL.
static bool next_header(const char **at, const char **name, int *name_len, const char **value, int *value_len)
{
    const char *line = strstr(*at ? *at : answer.head, "\r\n");
    if (line == NULL || line[2] == '\r' || line[2] == 0)
        return false;
    line += 2;
    int len = (int)strcspn(line, "\r"), colon = (int)strcspn(line, ":\r");
    *at = *name = line;
    *name_len = colon;
    *value = line + (colon < len ? colon + 1 : len);
    *value += strspn(*value, " \t");
    *value_len = (int)(line + len - *value);
    return true;
}

static const char *header(const char *wanted, int *len)
{
    const char *at = NULL, *name, *value;
    for (int name_len; next_header(&at, &name, &name_len, &value, len);)
        if ((size_t)name_len == strlen(wanted) && strncasecmp(name, wanted, name_len) == 0)
            return value;
    return NULL;
}

// NULL, or what is wrong with the head.
static const char *answer_head(bool head_request)
{
    int len;
    if (sscanf(answer.head, "HTTP/1.%*1d %3d", &answer.status) != 1)
        return "no HTTP/1.x status line";
    const char *value = header("content-length", &len);
    if (value != NULL)
        answer.length = strtoll(value, NULL, 10);
    answer.no_body = head_request || answer.status == 304 || answer.status == 204;
    return header("transfer-encoding", &len) ? "Transfer-Encoding, which no device of ours reads (its error -101)" : NULL;
}

// Takes the plaintext of (a part of) one application record.
static const char *answer_take(const char *p, size_t n, bool head_request)
{
    for (; n > 0 && !answer.head_whole; n--) {
        if (answer.head_len + 1 == sizeof answer.head)
            return "head longer than 16 KiB";
        answer.head[answer.head_len++] = *p++;
        answer.head_whole = answer.head_len >= 4 && !memcmp(answer.head + answer.head_len - 4, "\r\n\r\n", 4);
        const char *wrong = answer.head_whole ? answer_head(head_request) : NULL;
        if (wrong)
            return wrong;
    }
    long long take = answer.no_body ? 0 : (long long)n;
    if (answer.length >= 0 && take > answer.length - answer.body)
        take = answer.length - answer.body;
    if (take > 0) {
        if (answer.first_record == 0)
            answer.first_record = wire.data_records;
        if (answer.first_record == wire.data_records)
            answer.first_record_bytes += take;
        md5_add(p, take);
        answer.body += take;
    }
    answer.trailing += n - take;
    return NULL;
}

// ---- the exchange ---------------------------------------------------------------------------------------------------
static struct {
    const char *outcome, *why;  // ok, connect, tls, http, stopped, aborted, timeout; and words for people
    const char *server_close;   // notify, fin, reset, open (when we hung up the server had not closed)
    double handshake_ms, answer_ms;
    bool resumed;
    unsigned suite;             // 0: none yet
    const char *version;
    long long error;            // of the TLS library; 0: none
    char error_name[200];
} report = { .outcome = "ok", .server_close = "open" };

static int fail(int exit_code, const char *outcome, const char *why)
{
    report.outcome = wire.timed_out ? "timeout" : outcome;
    report.why = wire.timed_out ? "the time of --timeout-s is up" : why;
    if (wire.ended && strcmp(report.server_close, "open") == 0)
        report.server_close = wire.ended;
    return exit_code;
}

static int read_some(char *to, size_t len)
{
    int n = tls_read(to, len);
    if (n == 0)
        report.server_close = "notify";
    else if (n < 0 && wire.ended && strcmp(report.server_close, "open") == 0)
        report.server_close = wire.ended;
    return n;
}

// A bare close over bytes not yet read (the server's close_notify is enough) goes out as a reset: on Linux as on lwIP.
static void part(void)
{
    char rest[4096];
    if (strcmp(want.end, "fin") == 0)
        return;
    if (strcmp(want.end, "wait") == 0) {
        double most = now_ms() + 10000;
        deadline = most < deadline ? most : deadline;
        for (int n; (n = read_some(rest, sizeof rest)) > 0;)
            answer.trailing += n;
    }
    tls_send_close();
    shutdown(wire.fd, SHUT_WR);
    double most = now_ms() + 2000;  // a close() over unread bytes would turn our FIN into a reset
    deadline = most < deadline ? most : deadline;
    if (strcmp(report.server_close, "open") == 0)
        while (read_some(rest, sizeof rest) > 0)
            ;
}

// One request and its answer; returns the exit code.
static int converse(const unsigned char *request, size_t len)
{
    static char plain[16384];  // one record, so that each tls_read hands over a whole one
    bool head_request = len > 5 && !memcmp(request, "HEAD ", 5);
    double sent = now_ms();
    if (tls_write_all(request, len) < 0)
        return fail(EXIT_HTTP, "http", "the request could not be sent");
    if (want.rate > 0)
        wire.paced_since = now_ms(), wire.paced = 0;
    for (;;) {
        int n = read_some(plain, sizeof plain);
        if (n < 0 && !wire.ended && !wire.timed_out)
            return fail(EXIT_TLS, "tls", "TLS failed during the answer");
        if (n <= 0)
            return fail(EXIT_HTTP, "http", !answer.head_whole ? "closed before the head was whole" :
                answer.length < 0 ? "no Content-Length (a device's error -101)" : "closed before the body was whole");
        const char *wrong = answer_take(plain, n, head_request);
        if (wrong)
            return fail(EXIT_HTTP, "http", wrong);
        if (!answer.head_whole)
            continue;
        if (report.answer_ms == 0)
            report.answer_ms = now_ms() - sent;
        if (want.abort_after >= 0 && answer.body >= want.abort_after) {
            struct linger now = { .l_onoff = 1 };
            setsockopt(wire.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
            return fail(EXIT_HTTP, "aborted", NULL);
        }
        if (want.stop_after >= 0 && answer.body >= want.stop_after)
            return fail(EXIT_HTTP, "stopped", NULL);
        if (answer.no_body || answer.body == answer.length)
            break;
    }
    wire.paced_since = 0;
    part();
    return EXIT_OK;
}

// ---- the report -----------------------------------------------------------------------------------------------------
// What one record carries beyond its plaintext (TLS 1.2): ChaCha20-Poly1305 a 16-byte tag; CCM_8 an 8-byte nonce and an
// 8-byte tag; GCM and CCM 8 + 16. CBC suites have no fixed value and count as 0: the figure is then an upper bound.
static size_t record_overhead(unsigned suite)
{
    bool chacha = suite >= 0xCCA8 && suite <= 0xCCAE;
    bool ccm_8 = (suite >= 0xC0A0 && suite <= 0xC0A3) || suite == 0xC0AE || suite == 0xC0AF;
    bool ccm = (suite >= 0xC09C && suite <= 0xC09F) || suite == 0xC0AC || suite == 0xC0AD;
    bool gcm = (suite >= 0x009C && suite <= 0x00A9) || (suite >= 0xC02B && suite <= 0xC032);
    return chacha || ccm_8 ? 16 : gcm || ccm ? 24 : 0;
}

static void json_text(const char *s, int len, bool lower)
{
    for (int i = 0; i < len; i++) {
        unsigned char c = s[i];
        if (lower && c >= 'A' && c <= 'Z')
            c += 'a' - 'A';
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            printf("\\u%04x", c);
        else
            putchar(c);
    }
}

static void json_string(const char *key, const char *s, int len)
{
    printf(",\"%s\":%s", key, s ? "\"" : "null");
    if (s) {
        json_text(s, len < 0 ? (int)strlen(s) : len, false);
        putchar('"');
    }
}

// Repeated headers are joined with ", " (RFC 9110, 5.2), since an object's key must not repeat.
static void json_headers(void)
{
    printf(",\"headers\":{");
    const char *at = NULL, *name, *value, *again, *other;
    bool first = true;
    for (int len, value_len, other_len, more; answer.head_whole && next_header(&at, &name, &len, &value, &value_len);) {
        bool seen = false;
        for (again = NULL; next_header(&again, &other, &other_len, &value, &more) && other != name;)
            seen |= other_len == len && strncasecmp(other, name, len) == 0;
        if (seen)
            continue;
        printf(first ? "\"" : ",\"");
        json_text(name, len, true);
        printf("\":\"");
        first = true;
        for (again = NULL; next_header(&again, &other, &other_len, &value, &more);)
            if (other_len == len && strncasecmp(other, name, len) == 0) {
                printf(first ? "" : ", ");
                json_text(value, more, false);
                first = false;
            }
        printf("\"");
    }
    printf("}");
}

static int print_report(const char *client, int exit_code)
{
    unsigned char md5[16];
    int len = 0;
    printf("{\"client\":\"%s\",\"outcome\":\"%s\"", client, report.outcome);
    json_string("why", report.why, -1);
    answer.status ? printf(",\"status\":%d", answer.status) : printf(",\"status\":null");
    json_headers();
    printf(",\"content_length\":%lld,\"body_bytes\":%lld,\"trailing_bytes\":%lld,\"body_md5\":\"",
           answer.length, answer.body, answer.trailing);
    md5_end(md5);
    for (int i = 0; i < 16; i++)
        printf("%02x", md5[i]);
    printf("\"");
    const char *x_md5 = answer.head_whole ? header("x-md5", &len) : NULL;
    json_string("x_md5", x_md5, len);
    printf(",\"resumed\":%s", report.resumed ? "true" : "false");
    report.suite ? printf(",\"cipher\":\"0x%04X\"", report.suite) : printf(",\"cipher\":null");
    json_string("version", report.version, -1);
    size_t over = record_overhead(report.suite);
    printf(",\"max_handshake_record\":%zu,\"max_record_plaintext\":%zu,\"data_records\":%u,\"first_body_record_bytes\":%lld",
           wire.max_handshake, wire.max_data > over ? wire.max_data - over : 0, wire.data_records, answer.first_record_bytes);
    printf(",\"handshake_ms\":%.1f,\"answer_ms\":%.1f", report.handshake_ms, report.answer_ms);
    json_string("server_close", report.server_close, -1);
    printf(",\"error\":{\"code\":%lld", report.error);
    json_string("name", report.error_name, -1);
    printf("}}\n");
    return exit_code;
}
