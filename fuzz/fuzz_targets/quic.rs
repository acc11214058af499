// SPDX-License-Identifier: GPL-3.0-or-later
//! Any program may send any datagrams; those that can be opened hold anything.
#![no_main]

use aes_gcm::aead::AeadInOut;
use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::BlockCipherEncrypt;
use aes_gcm::{Aes128Gcm, KeyInit};
use hkdf::Hkdf;
use leco_pipe::enrich::hello::host_name::host_name;
use leco_pipe::enrich::hello::quic::InitialPackets;
use sha2::Sha256;

const CONNECTION_ID: &[u8] = b"12345678";
/// RFC 9001, 5.2.
const SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
    0xbb, 0x7f, 0x0a,
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut packets = InitialPackets::new();
    // Pieces, each after a byte of what it is and two of its length.
    let mut rest = bytes;
    let mut payload = Vec::new();
    let mut now = 0;
    while let Some((&[what, high, low], after)) = rest.split_first_chunk() {
        let (piece, after) = after.split_at(after.len().min(u16::from_be_bytes([high, low]).into()));
        rest = after;
        if what & 1 == 0 {
            payload.extend(seal(piece).unwrap_or_default());
        } else {
            payload.extend(piece);
        }
        if what & 2 == 0 || rest.is_empty() {
            now += 1;
            let hello = packets.push(u64::from(what & 4), &payload, now);
            payload.clear();
            if let Some(name) = hello.and_then(|hello| hello.name) {
                assert_eq!(host_name(&name).as_deref(), Some(&*name));
            }
        }
    }
});

/// An Initial with these frames.
fn seal(frames: &[u8]) -> Option<Vec<u8>> {
    let (_, initial) = Hkdf::<Sha256>::extract(Some(&SALT), CONNECTION_ID);
    let client = Hkdf::<Sha256>::from_prk(&expand::<32>(&initial, b"tls13 client in")?).ok()?;
    let key: [u8; 16] = expand(&client, b"tls13 quic key")?;
    let nonce: [u8; 12] = expand(&client, b"tls13 quic iv")?;
    let mask_key: [u8; 16] = expand(&client, b"tls13 quic hp")?;

    // Number 0, in one byte, so that the nonce is as it was derived; at least as much as is sampled.
    let mut sealed = frames.to_vec();
    sealed.resize(frames.len().max(3), 0);
    let len = u16::try_from(1 + sealed.len() + 16).ok().filter(|&len| len < 0x4000)? | 0x4000;
    let mut packet = [&[0xc0, 0, 0, 0, 1, 8], CONNECTION_ID, &[0, 0], &len.to_be_bytes(), &[0]].concat();
    let number_at = packet.len() - 1;
    let tag = Aes128Gcm::new(&key.into())
        .encrypt_inout_detached(&nonce.into(), &packet, (&mut sealed[..]).into())
        .ok()?;
    packet.extend(sealed);
    packet.extend(&tag[..]);
    let sample: [u8; 16] = packet.get(number_at + 4..number_at + 20)?.try_into().ok()?;
    let mut mask = sample.into();
    Aes128::new(&mask_key.into()).encrypt_block(&mut mask);
    packet[0] ^= mask[0] & 0x0f;
    packet[number_at] ^= mask[1];
    Some(packet)
}

fn expand<const LEN: usize>(secret: &Hkdf<Sha256>, label: &[u8]) -> Option<[u8; LEN]> {
    let mut key = [0; LEN];
    let sizes = [0, u8::try_from(LEN).ok()?, u8::try_from(label.len()).ok()?];
    secret.expand_multi_info(&[&sizes, label, &[0]], &mut key).ok()?;
    Some(key)
}
