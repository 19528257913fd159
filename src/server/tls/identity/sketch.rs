//! The root as a sketch holds it.

/// The lines of an Arduino sketch that trust the root: the raw string of C++11, which both cores compile,
/// in flash (`PROGMEM`), for `X509List` on an ESP8266 and `setCACert` on an ESP32.
#[must_use]
pub fn arduino_lines(root_pem: &str) -> String {
    format!(
        "static const char root_ca[] PROGMEM = R\"(\n{}\n)\";\n",
        root_pem.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sketch_holds_the_root_as_it_is() {
        assert_eq!(
            arduino_lines("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
            "static const char root_ca[] PROGMEM = R\"(\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n)\";\n"
        );
    }
}
