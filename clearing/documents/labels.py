"""The words of printed documents in the languages that they come in.

Owns: the translations. Must not know: what a document holds or looks like.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Language(StrEnum):
    """ISO 639-1."""

    ENGLISH = "en"
    GERMAN = "de"
    FRENCH = "fr"
    ITALIAN = "it"


_ORDER: Final = (Language.ENGLISH, Language.GERMAN, Language.FRENCH, Language.ITALIAN)
_TABLE: Final = {
    "invoice": ("Invoice", "Rechnung", "Facture", "Fattura"),
    "self_billed": ("Self-billed invoice", "Gutschriftsrechnung", "Autofacture", "Autofattura"),
    "credit_note": ("Credit note", "Stornorechnung", "Avoir", "Nota di credito"),
    "receipt": ("Payment receipt", "Zahlungsbeleg", "Reçu de paiement", "Ricevuta di pagamento"),
    "refund": ("Refund receipt", "Rückzahlungsbeleg", "Reçu de remboursement", "Ricevuta di rimborso"),
    "issued": ("Issued on", "Ausgestellt am", "Émis le", "Emesso il"),
    "supplied": ("Supplied", "Geliefert", "Livré", "Fornito"),
    "corrects": ("Corrects", "Berichtigt", "Rectifie", "Rettifica"),
    "seller": ("Seller", "Verkäufer", "Vendeur", "Venditore"),
    "buyer": ("Buyer", "Käufer", "Acheteur", "Acquirente"),
    "driver": ("Driver", "Fahrerin oder Fahrer", "Conducteur", "Conducente"),
    "vat_id": ("VAT id", "MwSt-Nr.", "N° TVA", "Partita IVA"),
    "no_vat_id": ("no VAT id shown", "keine MwSt-Nr.", "sans n° TVA", "senza partita IVA"),
    "session": ("Charging session", "Ladevorgang", "Session de charge", "Sessione di ricarica"),
    "energy": ("Energy", "Energie", "Énergie", "Energia"),
    "to_driver": (
        "Electricity for charging an electric vehicle",
        "Strom zum Laden eines Elektrofahrzeugs",
        "Électricité pour la recharge d'un véhicule électrique",
        "Elettricità per la ricarica di un veicolo elettrico",
    ),
    "net": ("Net", "Netto", "Hors TVA", "Imponibile"),
    "vat": ("VAT", "MwSt", "TVA", "IVA"),
    "gross": ("Total", "Gesamt", "Total TTC", "Totale"),
    "rounding": ("Rounding", "Rundung", "Arrondi", "Arrotondamento"),
    "paid": ("Paid", "Bezahlt", "Payé", "Pagato"),
    "paid_back": ("Paid back", "Zurückbezahlt", "Remboursé", "Rimborsato"),
    "due": ("Due", "Zu zahlen", "À payer", "Da pagare"),
    "no_invoice": (
        "This is proof of payment, not an invoice: it shows no VAT.",
        "Dies ist ein Zahlungsbeleg, keine Rechnung: er weist keine MwSt aus.",
        "Ceci est une preuve de paiement, pas une facture : elle n'indique pas de TVA.",
        "Questa è una prova di pagamento, non una fattura: non indica l'IVA.",
    ),
    "in_name_of": (
        "Issued by the platform in the name and on behalf of the seller.",
        "Von der Plattform im Namen und für Rechnung des Verkäufers ausgestellt.",
        "Émis par la plateforme au nom et pour le compte du vendeur.",
        "Emesso dalla piattaforma in nome e per conto del venditore.",
    ),
}


def labels(language: Language) -> Mapping[str, str]:
    """Every label in one language, by its name."""
    place = _ORDER.index(language)
    return MappingProxyType({name: words[place] for name, words in _TABLE.items()})
