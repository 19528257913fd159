// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Stands for an ESP8266 that updates itself over HTTPS: esp8266/Arduino's WiFiClientSecure on BearSSL.
// Build: cc -O2 -Wall -Wextra -Werror -o bearssl_client bearssl_client.c -lbearssl
//
// Where the numbers come from (esp8266/Arduino, libraries/ESP8266WiFi/src/WiFiClientSecureBearSSL.cpp, and BearSSL):
//   --in 16384, --out 512      setBufferSizes() in _clear(): "minimum safe" default; ESPHome uses 512/512
//   + 325 and + 85             MAX_IN_OVERHEAD and MAX_OUT_OVERHEAD of BearSSL's ssl_engine.c, added by setBufferSizes()
//   suites, TLS 1.0 to 1.2     the core's list is that of br_ssl_client_init_full(); we accept no answer below 1.2
//   no renegotiation           BR_OPT_NO_RENEGOTIATION in br_ssl_client_base_init()
//   max_fragment_length        BearSSL offers the largest of 512..4096 that fits both buffers: 512 by default
//   session                    BearSSL::Session: by session id only; the library has no tickets
//   insecure                   setInsecure(): the first certificate's key is taken, nothing is checked
//   719528                     days from year 0 to 1970 (X.509 time), as in _installClientX509Validator()
//   --end fin                  the core's stop() never sends close_notify; --end notify is kinder than the real thing
//   probe                      probeMaxFragmentLength(): see probe() below

#include <bearssl.h>

#include "answer.h"

static br_ssl_client_context client;
static br_sslio_context io;
static br_md5_context md5;
static long long out_size = 512, probe_size = 512;
static const char *clock_text = "now";
static bool only_probe;

static const struct option_row options[] = {
    COMMON_OPTIONS,
    { "out", NUMBER, &out_size, "transmit content buffer, 512..16384 bytes (512)" },
    { "time", TEXT, &clock_text, "with --anchor: now, or seconds since 1970 (0: a chip without SNTP)" },
    { "mfln-probe", FLAG, &only_probe, "only ask for max_fragment_length, as probeMaxFragmentLength() does" },
    { "probe-size", NUMBER, &probe_size, "what the probe asks for: 512, 1024, 2048 or 4096 (512)" },
};

// ---- errors ---------------------------------------------------------------------------------------------------------
#define NAMED(code) { code, #code }
static const struct { int code; const char *name; } error_names[] = {
    NAMED(BR_ERR_BAD_PARAM), NAMED(BR_ERR_BAD_STATE), NAMED(BR_ERR_UNSUPPORTED_VERSION), NAMED(BR_ERR_BAD_VERSION),
    NAMED(BR_ERR_BAD_LENGTH), NAMED(BR_ERR_TOO_LARGE), NAMED(BR_ERR_BAD_MAC), NAMED(BR_ERR_NO_RANDOM),
    NAMED(BR_ERR_UNKNOWN_TYPE), NAMED(BR_ERR_UNEXPECTED), NAMED(BR_ERR_BAD_CCS), NAMED(BR_ERR_BAD_ALERT),
    NAMED(BR_ERR_BAD_HANDSHAKE), NAMED(BR_ERR_OVERSIZED_ID), NAMED(BR_ERR_BAD_CIPHER_SUITE), NAMED(BR_ERR_BAD_COMPRESSION),
    NAMED(BR_ERR_BAD_FRAGLEN), NAMED(BR_ERR_BAD_SECRENEG), NAMED(BR_ERR_EXTRA_EXTENSION), NAMED(BR_ERR_BAD_SNI),
    NAMED(BR_ERR_BAD_HELLO_DONE), NAMED(BR_ERR_LIMIT_EXCEEDED), NAMED(BR_ERR_BAD_FINISHED), NAMED(BR_ERR_RESUME_MISMATCH),
    NAMED(BR_ERR_INVALID_ALGORITHM), NAMED(BR_ERR_BAD_SIGNATURE), NAMED(BR_ERR_WRONG_KEY_USAGE),
    NAMED(BR_ERR_NO_CLIENT_AUTH), NAMED(BR_ERR_IO), NAMED(BR_ERR_X509_INVALID_VALUE), NAMED(BR_ERR_X509_TRUNCATED),
    NAMED(BR_ERR_X509_EMPTY_CHAIN), NAMED(BR_ERR_X509_UNSUPPORTED), NAMED(BR_ERR_X509_LIMIT_EXCEEDED),
    NAMED(BR_ERR_X509_WRONG_KEY_TYPE), NAMED(BR_ERR_X509_BAD_SIGNATURE), NAMED(BR_ERR_X509_TIME_UNKNOWN),
    NAMED(BR_ERR_X509_EXPIRED), NAMED(BR_ERR_X509_DN_MISMATCH), NAMED(BR_ERR_X509_BAD_SERVER_NAME),
    NAMED(BR_ERR_X509_CRITICAL_EXTENSION), NAMED(BR_ERR_X509_NOT_CA), NAMED(BR_ERR_X509_FORBIDDEN_KEY_USAGE),
    NAMED(BR_ERR_X509_WEAK_PUBLIC_KEY), NAMED(BR_ERR_X509_NOT_TRUSTED),
};

static void note_error(void)
{
    int code = br_ssl_engine_last_error(&client.eng);
    const char *name = code ? "other, see bearssl_ssl.h and bearssl_x509.h" : "";
    if (code >= BR_ERR_SEND_FATAL_ALERT)
        name = "BR_ERR_SEND_FATAL_ALERT + alert";
    else if (code >= BR_ERR_RECV_FATAL_ALERT)
        name = "BR_ERR_RECV_FATAL_ALERT + alert";
    for (size_t i = 0; i < sizeof error_names / sizeof *error_names; i++)
        if (error_names[i].code == code)
            name = error_names[i].name;
    report.error = code;
    snprintf(report.error_name, sizeof report.error_name, "%s", name);
}

// ---- setInsecure(): take the key of the first certificate, check nothing -------------------------------------------
static struct insecure {
    const br_x509_class *vtable;
    br_x509_decoder_context decoder;
    bool leaf_done;
} insecure;

static void in_start_chain(const br_x509_class **c, const char *name)
{
    struct insecure *x = (struct insecure *)c;
    (void)name;
    br_x509_decoder_init(&x->decoder, NULL, NULL);
    x->leaf_done = false;
}

static void in_start_cert(const br_x509_class **c, uint32_t len)
{
    (void)c, (void)len;
}

static void in_append(const br_x509_class **c, const unsigned char *buf, size_t len)
{
    struct insecure *x = (struct insecure *)c;
    if (!x->leaf_done)
        br_x509_decoder_push(&x->decoder, buf, len);
}

static void in_end_cert(const br_x509_class **c)
{
    ((struct insecure *)c)->leaf_done = true;
}

static unsigned in_end_chain(const br_x509_class **c)
{
    struct insecure *x = (struct insecure *)c;
    return x->leaf_done ? (unsigned)br_x509_decoder_last_error(&x->decoder) : BR_ERR_X509_EMPTY_CHAIN;
}

static const br_x509_pkey *in_get_pkey(const br_x509_class *const *c, unsigned *usages)
{
    if (usages)
        *usages = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN;
    return br_x509_decoder_get_pkey(&((struct insecure *)c)->decoder);
}

static const br_x509_class insecure_class = {
    sizeof insecure, in_start_chain, in_start_cert, in_append, in_end_cert, in_end_chain, in_get_pkey,
};

// ---- --anchor: BearSSL's own "minimal" verifier with one root -------------------------------------------------------
struct bytes { unsigned char at[16384]; size_t len; };

static void keep(void *to, const void *buf, size_t len)
{
    struct bytes *b = to;
    if (len > sizeof b->at - b->len)
        die(want.anchor, "certificate too long");
    memcpy(b->at + b->len, buf, len);
    b->len += len;
}

static void trust_only(const char *path, br_x509_minimal_context *verifier)
{
    static struct bytes der, dn;
    static br_x509_decoder_context cert;  // owns the key that the anchor points to
    static br_x509_trust_anchor anchor;
    br_pem_decoder_context pem;
    size_t len = 0, at = 0;
    int event = 0;
    unsigned char *text = read_file(path, &len);
    if (text == NULL)
        die(path, strerror(errno));
    for (br_pem_decoder_init(&pem); at < len && event != BR_PEM_END_OBJ && event != BR_PEM_ERROR;) {
        at += br_pem_decoder_push(&pem, text + at, len - at);
        event = br_pem_decoder_event(&pem);
        if (event == BR_PEM_BEGIN_OBJ)
            br_pem_decoder_setdest(&pem, keep, &der);
    }
    br_x509_decoder_init(&cert, keep, &dn);
    br_x509_decoder_push(&cert, der.at, der.len);
    const br_x509_pkey *key = event == BR_PEM_END_OBJ ? br_x509_decoder_get_pkey(&cert) : NULL;
    if (key == NULL)
        die(path, "no PEM certificate");
    anchor.dn.data = dn.at;
    anchor.dn.len = dn.len;
    anchor.flags = br_x509_decoder_isCA(&cert) ? BR_X509_TA_CA : 0;
    anchor.pkey = *key;
    br_ssl_client_init_full(&client, verifier, &anchor, 1);
    long long now = strcmp(clock_text, "now") ? atoll(clock_text) : (long long)time(NULL);
    br_x509_minimal_set_time(verifier, (uint32_t)(now / 86400 + 719528), (uint32_t)(now % 86400));
    free(text);
}

// ---- session file: one line "version suite id master", all hex; id "-" if the server gave none --------------------
static void to_hex(char *to, const unsigned char *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sprintf(to + 2 * i, "%02x", from[i]);
}

static size_t from_hex(unsigned char *to, size_t most, const char *hex)
{
    size_t n = 0;
    for (unsigned byte; n < most && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
        to[n] = (unsigned char)byte;
    return n;
}

static bool load_session(br_ssl_session_parameters *s)
{
    size_t len;
    char id[65], master[97];
    unsigned version, suite;
    unsigned char *text = want.session ? read_file(want.session, &len) : NULL;
    if (text == NULL)
        return false;
    memset(s, 0, sizeof *s);
    int got = sscanf((char *)text, "%4x %4x %64s %96s", &version, &suite, id, master);
    free(text);
    if (got != 4 || from_hex(s->master_secret, 48, master) != 48)
        die(want.session, "not a session file of this program");
    s->version = (uint16_t)version;
    s->cipher_suite = (uint16_t)suite;
    s->session_id_len = (unsigned char)(strcmp(id, "-") ? from_hex(s->session_id, 32, id) : 0);
    return s->session_id_len > 0;
}

static void save_session(const br_ssl_session_parameters *s)
{
    char id[65] = "-", master[97], line[200];
    to_hex(id, s->session_id, s->session_id_len);
    to_hex(master, s->master_secret, 48);
    int len = snprintf(line, sizeof line, "%04x %04x %s %s\n", s->version, s->cipher_suite, id, master);
    write_private(want.session, line, (size_t)len);
}

// ---- TLS ------------------------------------------------------------------------------------------------------------
static int low_read(void *unused, unsigned char *to, size_t len)
{
    (void)unused;
    int n = wire_read(to, len);
    return n > 0 ? n : -1;
}

static int low_write(void *unused, const unsigned char *from, size_t len)
{
    (void)unused;
    return wire_write(from, len);
}

static int tls_write_all(const void *from, size_t len)
{
    int bad = br_sslio_write_all(&io, from, len) < 0 || br_sslio_flush(&io) < 0;
    note_error();
    return bad ? -1 : 0;
}

static int tls_read(void *to, size_t len)
{
    int n = br_sslio_read(&io, to, len);  // run_until(RECVAPP), then what that record still holds
    if (n >= 0)
        return n;
    note_error();
    return report.error ? -1 : 0;         // closed without an error: close_notify came in
}

static void tls_send_close(void)
{
    size_t len;
    unsigned char *from;
    br_ssl_engine_close(&client.eng);
    while ((from = br_ssl_engine_sendrec_buf(&client.eng, &len)) != NULL && wire_write(from, len) > 0)
        br_ssl_engine_sendrec_ack(&client.eng, len);
}

static void md5_add(const void *from, size_t len)
{
    br_md5_update(&md5, from, len);
}

static void md5_end(unsigned char out[16])
{
    br_md5_out(&md5, out);
}

static const char *version_name(unsigned version)
{
    return version == BR_TLS12 ? "TLSv1.2" : version == BR_TLS11 ? "TLSv1.1" : version == BR_TLS10 ? "TLSv1.0" : NULL;
}

static bool handshake(void)
{
    static unsigned char in[16384 + 325], out[16384 + 85];
    static br_x509_minimal_context verifier;
    br_ssl_session_parameters before, after;

    if (want.anchor)
        trust_only(want.anchor, &verifier);
    else {
        br_ssl_client_init_full(&client, &verifier, NULL, 0);
        insecure.vtable = &insecure_class;
        br_ssl_engine_set_x509(&client.eng, &insecure.vtable);
    }
    br_ssl_engine_add_flags(&client.eng, BR_OPT_NO_RENEGOTIATION);
    br_ssl_engine_set_buffers_bidi(&client.eng, in, (size_t)want.in + 325, out, (size_t)out_size + 85);
    bool offered = load_session(&before);
    if (offered)
        br_ssl_engine_set_session_parameters(&client.eng, &before);

    double start = now_ms();
    wire.handshaking = true;
    bool done = br_ssl_client_reset(&client, want.sni, offered);
    br_sslio_init(&io, &client.eng, low_read, NULL, low_write, NULL);
    done = done && br_sslio_flush(&io) == 0;  // runs the engine until application data may flow
    wire.handshaking = false;
    report.handshake_ms = now_ms() - start;
    note_error();
    br_ssl_engine_get_session_parameters(&client.eng, &after);
    report.version = wire.heard ? version_name(after.version) : NULL;
    report.suite = done || wire.encrypted ? after.cipher_suite : 0;
    if (!done)
        return false;
    // A full handshake always makes a new master secret; only a resumed one keeps it.
    report.resumed = offered && memcmp(before.master_secret, after.master_secret, 48) == 0;
    if (want.session)
        save_session(&after);
    return after.version == BR_TLS12;
}

// ---- probeMaxFragmentLength() ---------------------------------------------------------------------------------------
static unsigned char *put16(unsigned char *p, unsigned v)
{
    *p++ = (unsigned char)(v >> 8);
    *p++ = (unsigned char)v;
    return p;
}

// The core's fixed hello: no SNI, no session id, random 01..08 11..18 twice, the full suite list, and four extensions.
static size_t probe_hello(unsigned char *hello, unsigned char mfln_code)
{
    static const unsigned char random[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 17, 18, 19, 20, 21, 22, 23, 24 };
    static const uint16_t groups[] = { 23, 24, 25, 29 };  // P-256, P-384, P-521, x25519
    static const unsigned char hashes[] = { 4, 3, 5, 6, 2 };
    unsigned char *p = put16(hello + 9, 0x0303);  // record header (5) and handshake header (4) come last
    memcpy(p, random, 16);
    memcpy(p + 16, random, 16);
    p += 32;
    *p++ = 0;
    p = put16(p, 2u * client.eng.suites_num);
    for (unsigned i = 0; i < client.eng.suites_num; i++)
        p = put16(p, client.eng.suites_buf[i]);
    *p++ = 1, *p++ = 0;  // compression: none
    unsigned char *extensions = p;
    p = put16(put16(put16(p + 2, 13), 22), 20);  // signature_algorithms: each hash with ECDSA (3), then with RSA (1)
    for (unsigned i = 0; i < 10; i++)
        *p++ = hashes[i % 5], *p++ = i < 5 ? 3 : 1;
    p = put16(put16(put16(p, 10), 10), 8);       // supported_groups
    for (unsigned i = 0; i < 4; i++)
        p = put16(p, groups[i]);
    p = put16(put16(put16(p, 11), 2), 0x0100);   // ec_point_formats: one, uncompressed
    p = put16(put16(p, 1), 1);                   // max_fragment_length
    *p++ = mfln_code;
    put16(extensions, (unsigned)(p - extensions - 2));
    hello[0] = REC_HANDSHAKE;
    put16(put16(hello + 1, 0x0303), (unsigned)(p - hello - 5));
    hello[5] = 1, hello[6] = 0;
    put16(hello + 7, (unsigned)(p - hello - 9));
    return (size_t)(p - hello);
}

static bool take(unsigned char *to, size_t len)
{
    for (int n; len > 0; to += n, len -= (size_t)n)
        if ((n = wire_read(to, len)) <= 0)
            return false;
    return true;
}

// Reads no further than the chip does (unread bytes make close() a reset, there and here). Returns why there is no MFLN.
static const char *probe_answer(int *code, unsigned *record_len, unsigned *hello_len)
{
    unsigned char b[64];
    if (!take(b, 5))
        return "no answer";
    *record_len = (unsigned)record_length();
    if (b[0] != REC_HANDSHAKE || b[1] != 3 || b[2] != 3)
        return b[0] == REC_ALERT ? "alert" : "not a TLS 1.2 handshake record";
    if (*record_len < 4 + 2 + 32 + 1 + 2 + 1 || !take(b, 4) || b[0] != 2)
        return "no ServerHello";
    *hello_len = (unsigned)b[1] << 16 | b[2] << 8 | b[3];
    if (*hello_len + 4 != *record_len)
        return "ServerHello is not alone in its record";
    int left = (int)*hello_len - 2 - 32 - 1;
    if (!take(b, 35) || b[0] != 3 || b[1] != 3 || b[34] > 32)
        return "not TLS 1.2";
    left -= b[34] + 5;  // session id, suite, compression, length of the extensions
    if (left < 0 || !take(b, b[34] + 5u))
        return "no extensions";
    while (left >= 4 && take(b, 4)) {
        unsigned type = b[0] << 8 | b[1], len = b[2] << 8 | b[3];
        left -= 4 + (int)len;
        if (left < 0 || len > 32 || !take(b, len))
            return "an extension longer than 32 bytes";
        if (type == 1 && len == 1) {
            *code = b[0];
            return NULL;
        }
    }
    return "no max_fragment_length in the ServerHello";
}

static int probe(void)
{
    static const unsigned char alerts[] = { 21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 0 };  // user_canceled, close_notify
    unsigned char hello[512];
    unsigned char asked = probe_size == 512 ? 1 : probe_size == 1024 ? 2 : probe_size == 2048 ? 3 : probe_size == 4096 ? 4 : 0;
    br_x509_minimal_context unused;
    int code = 0;
    unsigned record_len = 0, hello_len = 0;
    if (asked == 0)
        die("--probe-size", "must be 512, 1024, 2048 or 4096");
    br_ssl_client_init_full(&client, &unused, NULL, 0);  // only for its suite list
    const char *why = "nothing could be sent";
    if (wire_write(hello, probe_hello(hello, asked)) > 0)
        why = probe_answer(&code, &record_len, &hello_len);
    const char *ended = wire.timed_out ? "timeout" : wire.ended;
    if (wire.ended == NULL) {
        wire_write(alerts, 7);
        wire_write(alerts + 7, 7);
    }
    printf("{\"client\":\"bearssl\",\"probe\":%lld,\"mfln\":%s,\"echoed_code\":%d", probe_size, why ? "false" : "true", code);
    json_string("why", why, -1);
    json_string("ended", ended, -1);
    printf(",\"record_type\":%d,\"record_bytes\":%u,\"server_hello_bytes\":%u}\n",
           wire.heard ? wire.head[0] : 0, record_len, hello_len);
    return wire.heard ? EXIT_OK : EXIT_TLS;
}

int main(int argc, char **argv)
{
    size_t len = 0;
    read_options(argc, argv, options, sizeof options / sizeof *options);
    if (out_size < 512 || out_size > 16384)
        die("--out", "512..16384");
    unsigned char *request = only_probe ? NULL : read_file(want.request, &len);
    if (request == NULL && !only_probe)
        die(want.request, strerror(errno));
    deadline = now_ms() + want.timeout_s * 1e3;
    br_md5_init(&md5);
    const char *refused = wire_connect();
    int code;
    if (refused)
        code = fail(EXIT_TLS, "connect", refused);
    else if (only_probe)
        return probe();
    else if (!handshake())
        code = fail(EXIT_TLS, "tls", "no handshake");
    else
        code = converse(request, len);
    close(wire.fd);
    return print_report("bearssl", code);
}
