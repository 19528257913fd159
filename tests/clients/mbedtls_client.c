// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Stands for an ESP32 that updates itself over HTTPS: arduino-esp32's NetworkClientSecure and ESP-IDF's esp-tls, both on
// mbedTLS. Debian's mbedTLS 2.28 has what the devices before arduino-esp32 3.2.1 / IDF 5.4.2 have: no reassembly of split
// handshake messages (a server that splits them gets -0x7080).
// Build: cc -O2 -Wall -Wextra -Werror -o mbedtls_client mbedtls_client.c -lmbedtls -lmbedx509 -lmbedcrypto
//
// Where the numbers come from (ESP-IDF components/mbedtls/Kconfig and esp_tls_mbedtls.c; arduino-esp32 ssl_client.cpp):
//   --in 16384            MBEDTLS_SSL_IN_CONTENT_LEN; IDF allows 512..16384, and apps do shrink it. Debian's library is
//                         built with 16384, so a smaller one is acted out here with the errors a small build gives
//   + 320                 MBEDTLS_SSL_PAYLOAD_OVERHEAD of ssl_internal.h: IV 16 + MAC 48 + CBC padding 256
//   suites                MBEDTLS_CHACHAPOLY_C, DHM_C, CAMELLIA_C, DES_C are off in IDF: ECDHE or RSA with AES remain
//   TLS 1.2 only          MBEDTLS_SSL_PROTO_TLS1_3 is off by default
//   --tickets 1           mbedtls_ssl_config_defaults() turns them on for clients, and so does IDF's Kconfig
//   --dates 0             MBEDTLS_HAVE_TIME_DATE is off: validity dates are not looked at
//   --sni 127.0.0.1       arduino-esp32 sends even an IP address as server name
//   --end fin             stop_ssl_socket() and esp_mbedtls_conn_delete() close without close_notify

#include "answer.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/md5.h>
#include <mbedtls/ssl.h>

static mbedtls_ssl_context ssl;
static mbedtls_md5_context md5;
static long long tickets = 1, dates = 0;
static bool insecure;

static const struct option_row options[] = {
    COMMON_OPTIONS,
    { "insecure", FLAG, &insecure, "verify nothing (what happens without --anchor anyway)" },
    { "tickets", NUMBER, &tickets, "offer session tickets: 1 or 0 (then only session ids) (1)" },
    { "dates", NUMBER, &dates, "with --anchor: 1 checks validity dates, 0 does not (0)" },
};

static bool ok(int code)
{
    char words[160] = "";
    if (code >= 0)
        return true;
    report.error = code;
    mbedtls_strerror(code, words, sizeof words);
    snprintf(report.error_name, sizeof report.error_name, "-0x%04x %s", -code, words);
    return false;
}

// What a build with MBEDTLS_SSL_IN_CONTENT_LEN = --in says to the record whose header has just come in: fetch_input()
// refuses what exceeds the buffer, the record layer what exceeds the content length once decrypted.
static int small_buffer(void)
{
    size_t content = record_length(), over = 0;
    if (wire.encrypted)
        over = record_overhead((unsigned)mbedtls_ssl_get_ciphersuite_id(mbedtls_ssl_get_ciphersuite(&ssl)));
    if (content > (size_t)want.in + 320)
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    return content > want.in + over ? MBEDTLS_ERR_SSL_INVALID_RECORD : 0;
}

static int low_read(void *unused, unsigned char *to, size_t len)
{
    (void)unused;
    if (wire.body_left > 0 && want.in < 16384) {
        int refused = small_buffer();
        if (refused)
            return refused;
    }
    int n = wire_read(to, len);
    return n >= 0 ? n : wire.timed_out ? MBEDTLS_ERR_SSL_TIMEOUT : MBEDTLS_ERR_SSL_CONN_EOF;
}

static int low_write(void *unused, const unsigned char *from, size_t len)
{
    (void)unused;
    int n = wire_write(from, len);
    return n >= 0 ? n : MBEDTLS_ERR_SSL_CONN_EOF;
}

static int tls_write_all(const void *from, size_t len)
{
    for (size_t done = 0; done < len;) {
        int n = mbedtls_ssl_write(&ssl, (const unsigned char *)from + done, len - done);
        if (!ok(n))
            return -1;
        done += (size_t)n;
    }
    return 0;
}

static int tls_read(void *to, size_t len)
{
    int n = mbedtls_ssl_read(&ssl, to, len);  // hands out bytes of one record; 0 means that TCP has ended
    if (n > 0)
        return n;
    if (n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        return 0;
    ok(n == 0 ? MBEDTLS_ERR_SSL_CONN_EOF : n);
    return -1;
}

static void tls_send_close(void)
{
    mbedtls_ssl_close_notify(&ssl);
}

static void md5_add(const void *from, size_t len)
{
    mbedtls_md5_update_ret(&md5, from, len);
}

static void md5_end(unsigned char out[16])
{
    mbedtls_md5_finish_ret(&md5, out);
}

// The library's own list and order, less what IDF leaves out.
static const int *device_suites(void)
{
    static int suites[64];
    int n = 0;
    for (const int *s = mbedtls_ssl_list_ciphersuites(); *s != 0 && n < 63; s++) {
        const char *name = mbedtls_ssl_get_ciphersuite_name(*s);
        bool kx = !strncmp(name, "TLS-ECDHE-ECDSA-", 16) || !strncmp(name, "TLS-ECDHE-RSA-", 14) ||
                  !strncmp(name, "TLS-ECDH-ECDSA-", 15) || !strncmp(name, "TLS-ECDH-RSA-", 13) ||
                  !strncmp(name, "TLS-RSA-WITH-", 13);
        if (kx && strstr(name, "-WITH-AES-"))
            suites[n++] = *s;
    }
    return suites;
}

static int forgive_dates(void *unused, mbedtls_x509_crt *cert, int depth, uint32_t *flags)
{
    (void)unused, (void)cert, (void)depth;
    if (!dates)
        *flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    return 0;
}

// The session file is mbedTLS's own serialisation: readable by the same build only.
static bool load_session(mbedtls_ssl_session *session)
{
    size_t len;
    unsigned char *data = want.session ? read_file(want.session, &len) : NULL;
    if (data == NULL)
        return false;
    if (mbedtls_ssl_session_load(session, data, len) != 0)
        die(want.session, "not a session file of this program");
    free(data);
    return session->id_len > 0 || session->ticket_len > 0;
}

static void save_session(const mbedtls_ssl_session *session)
{
    static unsigned char data[32768];
    size_t len;
    if (ok(mbedtls_ssl_session_save(session, data, sizeof data, &len)))
        write_private(want.session, data, len);
}

static bool configure(mbedtls_ssl_config *conf)
{
    static mbedtls_entropy_context entropy;
    static mbedtls_ctr_drbg_context random;
    static mbedtls_x509_crt root;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&root);
    mbedtls_ssl_config_init(conf);
    if (!ok(mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0)) ||
        !ok(mbedtls_ssl_config_defaults(conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT)))
        return false;
    mbedtls_ssl_conf_rng(conf, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(conf, device_suites());
    mbedtls_ssl_conf_session_tickets(conf, tickets ? MBEDTLS_SSL_SESSION_TICKETS_ENABLED : MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    mbedtls_ssl_conf_authmode(conf, want.anchor ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
    if (want.anchor) {
        if (mbedtls_x509_crt_parse_file(&root, want.anchor) != 0)
            die(want.anchor, "no PEM certificate");
        mbedtls_ssl_conf_ca_chain(conf, &root, NULL);
        mbedtls_ssl_conf_verify(conf, forgive_dates, NULL);
    }
    mbedtls_ssl_init(&ssl);
    if (!ok(mbedtls_ssl_setup(&ssl, conf)) || (want.sni && !ok(mbedtls_ssl_set_hostname(&ssl, want.sni))))
        return false;
    mbedtls_ssl_set_bio(&ssl, NULL, low_write, low_read, NULL);
    return true;
}

static bool handshake(void)
{
    static mbedtls_ssl_config conf;
    mbedtls_ssl_session before, after;
    mbedtls_ssl_session_init(&before);
    mbedtls_ssl_session_init(&after);
    bool offered = load_session(&before);
    if (!configure(&conf) || (offered && !ok(mbedtls_ssl_set_session(&ssl, &before))))
        return false;
    double start = now_ms();
    wire.handshaking = true;
    bool done = ok(mbedtls_ssl_handshake(&ssl));
    wire.handshaking = false;
    report.handshake_ms = now_ms() - start;
    if (!done)
        return false;
    report.version = mbedtls_ssl_get_version(&ssl);
    report.suite = (unsigned)mbedtls_ssl_get_ciphersuite_id(mbedtls_ssl_get_ciphersuite(&ssl));
    if (!ok(mbedtls_ssl_get_session(&ssl, &after)))
        return false;
    // A full handshake always makes a new master secret; only a resumed one keeps it.
    report.resumed = offered && memcmp(before.master, after.master, sizeof after.master) == 0;
    if (want.session)
        save_session(&after);
    mbedtls_ssl_session_free(&before);
    mbedtls_ssl_session_free(&after);
    return true;
}

int main(int argc, char **argv)
{
    size_t len = 0;
    read_options(argc, argv, options, sizeof options / sizeof *options);
    if (insecure && want.anchor)
        die("--insecure", "not together with --anchor");
    unsigned char *request = read_file(want.request, &len);
    if (request == NULL)
        die(want.request, strerror(errno));
    deadline = now_ms() + want.timeout_s * 1e3;
    mbedtls_md5_init(&md5);
    mbedtls_md5_starts_ret(&md5);
    const char *refused = wire_connect();
    int code;
    if (refused)
        code = fail(EXIT_TLS, "connect", refused);
    else if (!handshake())
        code = fail(EXIT_TLS, "tls", "no handshake");
    else
        code = converse(request, len);
    close(wire.fd);
    return print_report("mbedtls", code);
}
