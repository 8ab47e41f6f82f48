//! PEM (RFC 7468), read laxly: text around the blocks, any line length, CR LF.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::X509Error;

/// Gives the content of all blocks with this label, in order.
pub fn read(text: &str, label: &str) -> Result<Vec<Vec<u8>>, X509Error> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&begin) {
        let (body, after) = after.split_once(&end).ok_or_else(|| X509Error::malformed("PEM", format_args!("no {end}")))?;
        let compact: String = body.split_ascii_whitespace().collect();
        blocks.push(STANDARD.decode(compact).map_err(|e| X509Error::malformed("PEM", e))?);
        rest = after;
    }
    Ok(blocks)
}

/// Writes one block, in lines of 64 characters.
pub fn write(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let text =
            format!("subject=x\n{}\nand\n{}{}", write("A", &[1; 100]), write("B", b"b"), write("A", b"2").replace('\n', "\r\n"));
        assert_eq!(read(&text, "A").unwrap(), [vec![1; 100], b"2".to_vec()]);
        assert!(text.lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn broken_blocks_are_refused() {
        assert!(read("-----BEGIN A-----\nAAAA", "A").is_err());
        assert!(read("-----BEGIN A-----\n!!\n-----END A-----", "A").is_err());
        assert_eq!(read("nothing", "A").unwrap(), Vec::<Vec<u8>>::new());
    }
}
