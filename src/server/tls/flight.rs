//! How large the server's first answer is. mbedTLS must hold it whole, and rustls sends it as one record.

use super::KeyKind;

/// Input buffers of small ESP32 builds hold so much (`CONFIG_MBEDTLS_SSL_IN_CONTENT_LEN=4096`).
pub(super) const SMALL_BUFFER: usize = 4096;

const MESSAGE_HEADER: usize = 4;
// RFC 5246 7.4.1.3 with a session id of 32 bytes; then the extensions that rustls may answer:
// server_name 4, session_ticket 4, extended_master_secret 4, renegotiation_info 5, ALPN `http/1.1` 15.
const SERVER_HELLO: usize = MESSAGE_HEADER + 2 + 32 + 33 + 2 + 1 + 2 + 4 + 4 + 4 + 5 + 15;

/// Bytes from ServerHello to ServerHelloDone of a full TLS 1.2 handshake over X25519, without the record's header;
/// at most some dozens more than really sent. `certificates` are the lengths of the chain in DER.
pub(super) fn bytes(certificates: impl Iterator<Item = usize>, key: KeyKind) -> usize {
    let certificate = MESSAGE_HEADER + 3 + certificates.map(|length| 3 + length).sum::<usize>();
    let signature = match key {
        KeyKind::P256 => 72,
        KeyKind::P384 => 104,
        KeyKind::P521 => 139,
        KeyKind::Rsa { bits } => bits.div_ceil(8),
        KeyKind::Other => 64,
    };
    // RFC 8422 5.4: curve type, curve, length and point; then scheme, length and signature.
    let key_exchange = MESSAGE_HEADER + 1 + 2 + 1 + 32 + 2 + 2 + signature;
    SERVER_HELLO + certificate + key_exchange + MESSAGE_HEADER
}
