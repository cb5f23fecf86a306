use super::sample::{file, finish, gzip, header, pax, put, zstd};
use super::*;
use crate::model::files::{EntryKind, normal};
use std::collections::BTreeMap;
use std::path::Path;

type Files = BTreeMap<String, Vec<u8>>;
type Whole = Vec<(Entry, Vec<u8>)>;

fn read(bytes: &[u8], limits: Limits) -> (Whole, Option<Stop>, Compression) {
    let progress = Progress::new();
    let mut entries = Vec::new();
    let mut reader = LayerReader::new(bytes, limits, &progress);
    let stop = loop {
        match reader.next_entry() {
            Ok(Some(entry)) => {
                let mut content = Vec::new();
                if let Err(error) = reader.read_to_end(&mut content) {
                    break Some(Stop::from_io(error));
                }
                entries.push((entry, content));
            }
            Ok(None) => break None,
            Err(stop) => break Some(stop),
        }
    };
    (entries, stop, reader.compression())
}

fn list(bytes: &[u8]) -> (Vec<Entry>, Option<Stop>) {
    let (entries, stop, _) = read(bytes, Limits::default());
    (entries.into_iter().map(|(entry, _)| entry).collect(), stop)
}

/// Files of all blobs of a fixture that are layers.
fn fixture(name: &str) -> (Files, Vec<Compression>) {
    let packed = std::fs::File::open(Path::new("tests/fixtures").join(format!("{name}.tar.gz"))).unwrap();
    let mut archive = ::tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let (mut files, mut packings) = (Files::new(), Vec::new());
    for blob in archive.entries().unwrap() {
        let mut blob = blob.unwrap();
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes).unwrap();
        if !blob.path().unwrap().to_string_lossy().contains("blobs/sha256/")
            || bytes.starts_with(b"{")
            || bytes.is_empty()
        {
            continue;
        }
        let (entries, stop, packing) = read(&bytes, Limits::default());
        assert_eq!(stop, None);
        packings.push(packing);
        for (entry, content) in entries {
            assert_eq!(entry.size, content.len() as u64);
            files.insert(String::from_utf8(normal(&entry.path)).unwrap(), content);
        }
    }
    (files, packings)
}

#[test]
fn the_same_files_come_out_of_all_four_packings() {
    let (gzip, packings) = fixture("local-max");
    assert!(packings.iter().all(|p| *p == Compression::Gzip));
    assert_eq!(gzip["usr/bin/app"].len(), 50_000);
    assert_eq!(gzip["src/main.c"].len(), 22);
    for (name, packing) in [
        ("local-zstd", Compression::Zstd),
        ("local-estargz", Compression::Estargz),
        ("local-uncompressed", Compression::Uncompressed),
    ] {
        let (files, packings) = fixture(name);
        assert!(packings.iter().all(|p| *p == packing), "{name}: {packings:?}");
        assert_eq!(packings.len(), 8, "{name}");
        assert!(files == gzip, "{name}: {:?}", files.keys());
    }
}

#[test]
fn every_sort_of_entry_keeps_what_the_tar_says() {
    let mut tar = Vec::new();
    let mut entry = |flag, name: &[u8], link: &[u8], mode| {
        let mut h = header(name, flag, 0);
        h.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        h.set_mode(mode);
        h.set_uid(1000);
        h.set_gid(1001);
        h.set_mtime(1_700_000_000);
        h.set_device_major(8).unwrap();
        h.set_device_minor(3).unwrap();
        h.set_cksum();
        put(&mut tar, &h, b"");
    };
    entry(b'5', b"dir/", b"", 0o1777);
    entry(b'2', b"dir/link", b"../\x1b]0;x\xff", 0o777);
    entry(b'1', b"dir/hard", b"/etc/shadow", 0o644);
    entry(b'3', b"dev/c", b"", 0o600);
    entry(b'4', b"dev/b", b"", 0o600);
    entry(b'6', b"pipe", b"", 0o600);
    entry(b'0', b"dir/.wh.gone", b"", 0o600);
    entry(b'0', b"dir/.wh..wh..opq", b"", 0o600);
    entry(b'0', b"bin/su", b"", 0o4755);
    entry(b'V', b"label", b"", 0o600);
    entry(0, b"old/", b"", 0o755);
    let (entries, stop) = list(&finish(tar));
    assert_eq!(stop, None);
    let kinds: Vec<EntryKind> = entries.iter().map(|e| e.kind).collect();
    use EntryKind as K;
    assert_eq!(
        kinds,
        [
            K::Directory,
            K::Symlink,
            K::Hardlink,
            K::CharDevice,
            K::BlockDevice,
            K::Fifo,
            K::Whiteout,
            K::Opaque,
            K::File,
            K::Other,
            K::Directory
        ]
    );
    assert_eq!(entries[1].link.as_deref(), Some(&b"../\x1b]0;x\xff"[..]), "bytes stay as they are");
    assert_eq!(entries[2].link.as_deref(), Some(&b"/etc/shadow"[..]));
    assert_eq!(entries[3].device, Some((8, 3)));
    assert_eq!((entries[8].mode, entries[8].uid, entries[8].gid), (0o4755, 1000, 1001));
    assert_eq!(entries[0].mtime, 1_700_000_000);
    assert_eq!(entries.iter().map(|e| e.number).collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
}

#[test]
fn pax_records_override_the_header_even_behind_values_with_newlines() {
    let records = pax(&[
        ("SCHILY.xattr.security.capability", b"\x01\n\n30 path=injected-by-a-value\n\0"),
        ("path", b"long/\xffname"),
        ("size", b"3"),
        ("uid", b"70000"),
        ("mtime", b"-12.5"),
    ]);
    let mut tar = Vec::new();
    put(&mut tar, &header(b"PaxHeaders/x", b'x', records.len() as u64), &records);
    put(&mut tar, &header(b"short", b'0', 0), b"abc");
    put(&mut tar, &header(b"next", b'0', 0), b"");
    let (entries, stop, _) = read(&finish(tar), Limits::default());
    assert_eq!(stop, None);
    let (entry, content) = &entries[0];
    assert_eq!(entry.path, b"long/\xffname");
    assert_eq!(content, b"abc", "the record's size counts, so that no part of the content is taken for a header");
    assert_eq!((entry.uid, entry.mtime), (70_000, -13));
    assert_eq!(entry.xattrs, [b"security.capability".to_vec()]);
    assert_eq!(entries[1].0.path, b"next");
    assert!(entries[1].0.xattrs.is_empty(), "records count for one entry");
}

#[test]
fn long_names_are_read_and_too_long_ones_end_the_listing() {
    let name = [&b"d/"[..], &[b'n'; 300]].concat();
    let mut tar = file(b"first", b"1");
    put(&mut tar, &header(b"././@LongLink", b'L', 303), &[&name[..], b"\0"].concat());
    put(&mut tar, &header(b"cut", b'0', 0), b"");
    let (entries, stop) = list(&finish(tar.clone()));
    assert_eq!((entries[1].path.clone(), stop), (name, None));

    put(&mut tar, &header(b"././@LongLink", b'L', 5000), &[b'n'; 5000]);
    put(&mut tar, &header(b"cut", b'0', 0), b"");
    let (entries, stop) = list(&finish(tar.clone()));
    assert_eq!((entries.len(), stop), (2, Some(Stop::Limit(Limit::Name(4096)))));

    // What a record says of its length is not believed: nothing is allocated, nothing is read.
    let mut tar = file(b"first", b"1");
    put(&mut tar, &header(b"x", b'x', 8 << 30), b"");
    let (entries, stop) = list(&finish(tar));
    assert_eq!((entries.len(), stop), (1, Some(Stop::Limit(Limit::Name(1 << 20)))));
}

#[test]
fn bounds_keep_what_came_before() {
    let tar: Vec<u8> = (0..2000).flat_map(|n| file(format!("f{n}").as_bytes(), b"")).collect();
    let tar = finish(tar);
    let lower = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        let (entries, stop, _) = read(&gzip(&tar), limits);
        (entries.len(), stop.unwrap())
    };
    assert_eq!(lower(|l| l.entries = 1000), (1000, Stop::Limit(Limit::Entries(1000))));
    assert_eq!(lower(|l| l.names = 4000).1, Stop::Limit(Limit::Names(4000)));
    let (count, stop) = lower(|l| l.output = 512 * 100);
    assert_eq!((count, stop), (100, Stop::Limit(Limit::Output(512 * 100))));
    let (count, stop) = lower(|l| (l.ratio, l.ratio_floor) = (10, 100_000));
    assert_eq!(stop, Stop::Limit(Limit::Ratio(10)));
    assert!(count >= 195, "{count}");
}

#[test]
fn headers_that_never_become_an_entry_are_counted_too() {
    let mut tar = Vec::new();
    for _ in 0..500 {
        put(&mut tar, &header(b"g", b'g', 0), b"");
    }
    let limits = Limits { entries: 100, ..Limits::default() };
    assert_eq!(read(&finish(tar), limits).1, Some(Stop::Limit(Limit::Entries(100))));
}

#[test]
fn bombs_end_at_the_ratio() {
    let big = 64 << 20;
    let mut tar = Vec::new();
    put(&mut tar, &header(b"small", b'0', 1), b"x");
    put(&mut tar, &header(b"bomb", b'0', big), &vec![0; big as usize]);
    for (name, packed) in [("gzip", gzip(&tar)), ("zstd", zstd(&tar))] {
        let limits = Limits { ratio: 100, ..Limits::default() };
        let (entries, stop) = {
            let mut reader = LayerReader::new(&packed[..], limits, &Progress::new());
            let mut entries = 0;
            loop {
                match reader.next_entry() {
                    Ok(Some(_)) => entries += 1,
                    Ok(None) => break (entries, None),
                    Err(stop) => break (entries, Some(stop)),
                }
            }
        };
        assert_eq!((entries, stop), (2, Some(Stop::Limit(Limit::Ratio(100)))), "{name}");
    }
}

#[test]
fn a_zstd_frame_with_a_huge_window_is_refused() {
    // Magic, a descriptor without checksum or size, a window of 2^31 bytes, then an empty last block.
    let frame = [ZSTD, &[0x00, (31 - 10) << 3, 0x01, 0x00, 0x00]].concat();
    assert_eq!(list(&frame).1, Some(Stop::Limit(Limit::Window(1 << 27))));
}

#[test]
fn cut_and_garbled_packings_keep_the_entries_before() {
    // Content that does not compress, so that the cut falls between entries.
    let mut state = 1_u32;
    let mut noise = |len: usize| -> Vec<u8> {
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(len)
        .collect()
    };
    let tar: Vec<u8> = (0..8).flat_map(|n| file(format!("f{n}").as_bytes(), &noise(100_000))).collect();
    let tar = finish(tar);
    for (name, packed) in [("gzip", gzip(&tar)), ("zstd", zstd(&tar)), ("plain", tar.clone())] {
        let (entries, stop) = list(&packed[..packed.len() / 2]);
        assert!((2..=5).contains(&entries.len()), "{name}: {}", entries.len());
        assert!(matches!(stop, Some(Stop::Damaged(_))), "{name}: {stop:?}");
    }
    let mut garbled = gzip(&tar);
    let middle = garbled.len() / 2;
    garbled[middle..middle + 64].fill(0xff);
    let (entries, stop) = list(&garbled);
    assert!(entries.len() < 8 && matches!(stop, Some(Stop::Damaged(_))), "{} {stop:?}", entries.len());

    let mut wrong_sum = gzip(&tar);
    let end = wrong_sum.len() - 6;
    wrong_sum[end] ^= 1;
    let (entries, stop) = list(&wrong_sum);
    assert_eq!(entries.len(), 8);
    assert!(matches!(stop, Some(Stop::Damaged(_))), "a checksum that is wrong at the very end is seen: {stop:?}");
}

#[test]
fn what_is_no_layer_says_so() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"{\"schemaVersion\":2}", "middle"),
        (&[b'a'; 600], "checksum"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh91AY", "bzip2"),
        (b"\x1f\x8b", "early"),
    ] {
        let (entries, stop) = list(bytes);
        assert!(entries.is_empty());
        let Some(Stop::Damaged(what)) = stop else { panic!("{stop:?}") };
        assert!(what.contains(word), "{what}");
    }
    assert_eq!(list(&finish(Vec::new())), (vec![], None), "an empty tar is a layer");
}

#[test]
fn sizes_behind_links_and_negative_sizes_shift_nothing() {
    let mut tar = Vec::new();
    put(&mut tar, &header(b"link", b'2', 512), b"");
    put(&mut tar, &header(b"after", b'0', 0), b"");
    let (entries, stop) = list(&finish(tar));
    assert_eq!((entries.len(), stop), (2, None), "a link has no content, whatever its size says");

    let mut h = header(b"negative", b'0', 0);
    h.as_old_mut().size = [0xff; 12];
    h.set_cksum();
    let mut tar = Vec::new();
    put(&mut tar, &h, b"");
    assert!(matches!(list(&finish(tar)).1, Some(Stop::Damaged(_))));
}

#[test]
fn sparse_files_show_their_real_size_and_shift_nothing() {
    // Old GNU: the maps beyond the fourth stand in blocks of their own before the content.
    let mut old = header(b"old", b'S', 1024);
    old.as_gnu_mut().unwrap().isextended = [1];
    old.as_gnu_mut().unwrap().realsize = *b"00040000000\0";
    old.set_cksum();
    let mut tar = old.as_bytes().to_vec();
    let mut map = [0; 512];
    map[504] = 1;
    tar.extend_from_slice(&map);
    tar.extend_from_slice(&[0; 512]);
    tar.extend_from_slice(&[b'x'; 1024]);
    // GNU's pax form 1.0: the name in the header is made up.
    let records = pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"new"),
        ("GNU.sparse.realsize", b"10000000"),
    ]);
    put(&mut tar, &header(b"PaxHeaders/x", b'x', records.len() as u64), &records);
    put(&mut tar, &header(b"GNUSparseFile.0/new", b'0', 512), &[b'x'; 512]);
    put(&mut tar, &header(b"after", b'0', 1), b"x");
    let tar = finish(tar);
    let mut reader = LayerReader::new(&tar[..], Limits::default(), &Progress::new());
    let mut seen = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        seen.push((entry.path, entry.size, reader.is_sparse()));
    }
    assert_eq!(
        seen,
        [(b"old".to_vec(), 0o40_000_000, true), (b"new".to_vec(), 10_000_000, true), (b"after".to_vec(), 1, false)]
    );
}

#[test]
fn words_about_a_sparse_file_count_only_with_its_map() {
    let sparse = |records: &[(&str, &[u8])]| {
        let (mut tar, records) = (Vec::new(), pax(records));
        put(&mut tar, &header(b"PaxHeaders/x", b'x', records.len() as u64), &records);
        put(&mut tar, &header(b"plain", b'0', 3), b"abc");
        let tar = finish(tar);
        let mut reader = LayerReader::new(&tar[..], Limits::default(), &Progress::new());
        let entry = reader.next_entry().unwrap().unwrap();
        (String::from_utf8(entry.path).unwrap(), entry.size, reader.is_sparse())
    };
    let words: [(&str, &[u8]); 2] = [("GNU.sparse.name", b"other"), ("GNU.sparse.realsize", b"9")];
    assert_eq!(sparse(&words), ("plain".into(), 3, false), "as it is unpacked");
    // The oldest form, 0.0, writes its map as pairs.
    let pairs: [(&str, &[u8]); 3] =
        [("GNU.sparse.size", b"9"), ("GNU.sparse.offset", b"1"), ("GNU.sparse.numbytes", b"3")];
    assert_eq!(sparse(&pairs), ("plain".into(), 9, true));
}

#[test]
fn other_flavours_are_read_as_they_were_meant() {
    let mut ustar = header(b"name", b'0', 0);
    ustar.as_old_mut().pad[..8].copy_from_slice(b"ustar\x0000");
    ustar.as_old_mut().pad[88..94].copy_from_slice(b"prefix");
    ustar.set_cksum();
    // The oldest writers summed signed bytes, and some leave number fields empty.
    let mut signed = header(b"caf\xe9", b'0', 0);
    signed.as_old_mut().mtime = [0; 12];
    signed.set_cksum();
    let sum = signed.cksum().unwrap() - 256;
    signed.as_old_mut().cksum.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = Vec::new();
    put(&mut tar, &ustar, b"");
    put(&mut tar, &signed, b"");
    let (entries, stop) = list(&finish(tar));
    assert_eq!(stop, None);
    assert_eq!((&entries[0].path[..], &entries[1].path[..]), (&b"prefix/name"[..], &b"caf\xe9"[..]));
    assert_eq!(entries[1].mtime, 0);
}

#[test]
fn a_failing_source_is_not_the_layers_fault_and_cancelling_is_neither() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            self.0.read(into)
        }
    }
    let packed = gzip(&finish(file(b"f", &[b'x'; 300_000])));
    let mut reader = LayerReader::new(Failing(&packed[..200]), Limits::default(), &Progress::new());
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"f");
    assert!(matches!(reader.next_entry(), Err(Stop::Unreadable(_))));
    assert_eq!(reader.next_entry(), Ok(None));

    let progress = Progress::new();
    let mut reader = LayerReader::new(&packed[..], Limits::default(), &progress);
    progress.cancel();
    assert_eq!(reader.next_entry(), Err(Stop::Cancelled));
}

mod random {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = Vec<u8>> {
        let part = proptest::collection::vec(prop_oneof![4 => b'a'..=b'd', 1 => 1_u8..=255], 1..80)
            .prop_map(|part| part.into_iter().map(|b| if b == b'/' { b'_' } else { b }).collect::<Vec<u8>>());
        proptest::collection::vec(part, 1..6).prop_map(|parts| parts.join(&b'/'))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// What another writer writes comes back, whichever way it is packed.
        #[test]
        fn tars_read_back(files in proptest::collection::vec((name(), proptest::collection::vec(any::<u8>(), 0..2000), any::<u16>()), 0..12)) {
            use std::os::unix::ffi::OsStrExt;
            let mut builder = ::tar::Builder::new(Vec::new());
            for (name, content, mode) in &files {
                let mut h = ::tar::Header::new_gnu();
                h.set_size(content.len() as u64);
                h.set_mode(u32::from(mode & 0o7777));
                h.set_mtime(u64::from(*mode));
                h.set_uid(1);
                h.set_gid(u64::from(u32::MAX));
                let name = Path::new(std::ffi::OsStr::from_bytes(name));
                builder.append_data(&mut h, name, &content[..]).map_err(|e| TestCaseError::reject(e.to_string()))?;
            }
            let tar = builder.into_inner().unwrap();
            for packed in [gzip(&tar), zstd(&tar), tar] {
                let (entries, stop, _) = read(&packed, Limits::default());
                prop_assert_eq!(stop, None);
                prop_assert_eq!(entries.len(), files.len());
                for ((entry, content), (name, wrote, mode)) in entries.iter().zip(&files) {
                    prop_assert_eq!(normal(&entry.path), normal(name));
                    prop_assert_eq!((entry.mode, entry.gid, entry.mtime), (u32::from(mode & 0o7777), u32::MAX, i64::from(*mode)));
                    if entry.kind == EntryKind::File {
                        prop_assert_eq!(content, wrote);
                    }
                }
            }
        }

        /// No bytes make it panic or go on for ever.
        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..3000), at in 0_usize..3, flip in any::<u8>()) {
            let mut tar = finish(file(b"f", &bytes));
            tar[at * 100 + 24] ^= flip;
            for packed in [bytes, gzip(&tar), zstd(&tar), tar] {
                read(&packed, Limits::default());
            }
        }
    }
}
