//! Builds layers for tests, those too that no tool would write.

use std::io::Write as _;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}

/// A header as a hostile or odd writer makes it, with a right checksum.
pub(crate) fn header(name: &[u8], flag: u8, size: u64) -> ::tar::Header {
    let mut header = ::tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.as_old_mut().linkflag = [flag];
    header.set_cksum();
    header
}

pub(crate) fn put(tar: &mut Vec<u8>, header: &::tar::Header, content: &[u8]) {
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

pub(crate) fn finish(mut tar: Vec<u8>) -> Vec<u8> {
    tar.resize(tar.len() + 1024, 0);
    tar
}

pub(crate) fn file(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    put(&mut tar, &header(name, b'0', content.len() as u64), content);
    tar
}

pub(crate) fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut all = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (1..).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n).unwrap();
        all.extend_from_slice(format!("{length} {key}=").as_bytes());
        all.extend_from_slice(value);
        all.push(b'\n');
    }
    all
}

/// A tar, entry by entry.
#[derive(Default)]
pub(crate) struct Sample(Vec<u8>);

impl Sample {
    pub(crate) fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(name.as_bytes(), b'5', mode, (b"", b""))
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(name.as_bytes(), b'0', 0o644, (b"", content.as_ref()))
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name.as_bytes(), b'2', 0o777, (target.as_bytes(), b""))
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(name.as_bytes(), b'1', 0o644, (target.as_bytes(), b""))
    }

    /// Any entry; `rest` is where it leads and what it holds.
    pub(crate) fn entry(mut self, name: &[u8], flag: u8, mode: u32, rest: (&[u8], &[u8])) -> Self {
        let mut h = header(name, flag, rest.1.len() as u64);
        h.as_old_mut().linkname[..rest.0.len()].copy_from_slice(rest.0);
        h.set_mode(mode);
        h.set_mtime(1_700_000_000);
        h.set_cksum();
        put(&mut self.0, &h, rest.1);
        self
    }

    /// The plain tar.
    pub(crate) fn tar(self) -> Vec<u8> {
        finish(self.0)
    }
}
