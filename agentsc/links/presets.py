"""Whole radios by name: ``--link vehicular``. A preset stands for a specification, and names the sources of it."""

from __future__ import annotations

from typing import NamedTuple


class Preset(NamedTuple):
    """A name for a specification.

    spec: what it stands for. description: one line. sources: parameters → where their values are from.
    """

    spec: str
    description: str
    sources: dict[str, str]


_OURS = "our choice"

PRESETS: dict[str, Preset] = {
    "wifi": Preset(
        "rician:tx_dbm=15,carrier_ghz=5.2,bandwidth_khz=20000,noise_figure_db=7,exponent=3,shadowing_db=4,"
        "shadowing_m=5,obstacle_db_per_m=1.5,obstacle_max_db=20,k_db=6,coherence=motion,modulation=qpsk,code_rate=0.5,"
        "decoding=finite-blocklength+csma:difs_us=34,slot_us=9,cw=15,preamble_us=20,jitter_ms=10",
        "Indoor wireless LAN: 5 GHz, 20 MHz, broadcast at 20 Mbit/s with carrier sense.",
        {
            "difs_us, slot_us, cw, preamble_us": "IEEE 802.11-2020, OFDM PHY at 20 MHz",
            "exponent, shadowing_db": "ITU-R P.1238: about 30 dB per decade in offices at 5 GHz; spread for one room",
            "obstacle_db_per_m, obstacle_max_db": f"{_OURS}: shelves that let some through and bend the rest around",
            "k_db, shadowing_m, jitter_ms": f"{_OURS}: a line of sight among echoes, a room's scale",
        },
    ),
    "lora": Preset(
        "rayleigh:tx_dbm=14,carrier_ghz=0.868,bandwidth_khz=125,noise_figure_db=6,exponent=3,shadowing_db=7,"
        "shadowing_m=50,modulation=bpsk,code_rate=0.04375,decoding=threshold,threshold_db=-7.5"
        "+pure-aloha:preamble_us=12544",
        "Sub-GHz long range, spreading factor 7: 868 MHz, 125 kHz, 5.5 kbit/s, ALOHA.",
        {
            "tx_dbm, carrier_ghz": "LoRaWAN regional parameters, EU863-870: 14 dBm",
            "code_rate": "SF · CR / 2^SF = 7 · 0.8 / 128 bits per chip, so 5,469 bit/s (Semtech AN1200.22)",
            "threshold_db, noise_figure_db": "Semtech SX1276 data sheet, at spreading factor 7",
            "preamble_us": "12.25 symbols of 1.024 ms, ibid.",
            "exponent, shadowing_db": "J. Petäjäjärvi et al., ITST 2015, measured 2.3 and 7.8 dB; near ground more",
        },
    ),
    "vehicular": Preset(
        "rician:tx_dbm=23,carrier_ghz=5.9,bandwidth_khz=10000,noise_figure_db=9,exponent=2.75,shadowing_db=3,"
        "shadowing_m=10,obstacle_db_per_m=1.5,obstacle_max_db=20,k_db=3,coherence=motion,modulation=qpsk,"
        "code_rate=0.5,decoding=finite-blocklength+csma:difs_us=58,slot_us=13,cw=15,preamble_us=40,jitter_ms=10",
        "Vehicle to vehicle: 5.9 GHz, 10 MHz, broadcast at 10 Mbit/s with carrier sense.",
        {
            "tx_dbm, noise_figure_db, shadowing_db, shadowing_m": "3GPP TR 36.885 and TR 37.885, urban vehicles",
            "difs_us, slot_us, cw, preamble_us": "IEEE 802.11-2020, OFDM PHY at 10 MHz, best effort",
            "exponent": "J. Karedal et al., IEEE Transactions on Vehicular Technology 60 (2011): 1.6 to 2.9",
            "obstacle_db_per_m, obstacle_max_db, k_db, jitter_ms": _OURS,
        },
    ),
    "6g": Preset(
        "rician:tx_dbm=23,carrier_ghz=28,bandwidth_khz=100000,noise_figure_db=10,exponent=1.73,shadowing_db=3,"
        "shadowing_m=10,obstacle_db_per_m=5,obstacle_max_db=30,k_db=7,coherence=motion,modulation=16qam,code_rate=0.5,"
        "decoding=finite-blocklength+tdma:slot_ms=0.125,guard_us=5",
        "Low latency at high rate: 28 GHz, 100 MHz, slots of 125 us, 200 Mbit/s.",
        {
            "exponent, shadowing_db, k_db, shadowing_m": "3GPP TR 38.901, indoor office, line of sight",
            "slot_ms": "3GPP TS 38.211, subcarrier spacing of 120 kHz",
            "tx_dbm, noise_figure_db": "3GPP TR 38.802, handsets at 30 GHz",
            "obstacle_db_per_m, obstacle_max_db": f"{_OURS}: walls stop such waves, edges bend little around",
        },
    ),
    "underwater": Preset(
        "rayleigh:tx_dbm=170,carrier_ghz=0.000025,bandwidth_khz=5,noise_figure_db=199,exponent=1.5,reference_db=0,"
        "speed_mps=1500,modulation=bpsk,code_rate=0.5,decoding=finite-blocklength+pure-aloha",
        "Acoustic modem: 25 kHz, 5 kHz wide, 2.5 kbit/s, sound at 1500 m/s, ALOHA.",
        {
            "tx_dbm": f"dB re 1 uPa at 1 m; {_OURS}, typical of modems",
            "noise_figure_db": "50 − 18 log10(f/kHz) = 25 dB re 1 uPa²/Hz at 25 kHz, as a figure above −174 "
            "(M. Stojanovic, ACM Mobile Computing and Communications Review 11 (2007))",
            "exponent, reference_db": "practical spreading, 15 dB per decade, ibid.; absorption, 4 dB/km, is left out",
            "bandwidth_khz, speed_mps": "ibid.",
        },
    ),
}  # fmt: skip
