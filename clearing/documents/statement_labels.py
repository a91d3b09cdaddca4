"""The words of a printed statement of a payment, in the languages that it comes in.

Owns: the translations. Must not know: what a statement holds or looks like.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from clearing.documents.labels import Language

_ORDER: Final = (Language.ENGLISH, Language.GERMAN, Language.FRENCH, Language.ITALIAN)
_TABLE: Final = {
    "title": ("Settlement statement", "Abrechnung", "Décompte", "Rendiconto"),
    "number": ("No.", "Nr.", "N°", "N."),
    "for": ("For", "Für", "Pour", "Per"),
    "paid_on": ("Paid on", "Bezahlt am", "Payé le", "Pagato il"),
    "period": ("Settlement day", "Abrechnungstag", "Jour de décompte", "Giorno di regolamento"),
    "disbursement": ("Payment", "Zahlung", "Paiement", "Pagamento"),
    "end_to_end_id": ("Bank reference", "Bankreferenz", "Référence bancaire", "Riferimento bancario"),
    "rail_reference": ("Payment service", "Zahlungsdienst", "Service de paiement", "Servizio di pagamento"),
    "file": ("Payment file", "Zahlungsdatei", "Fichier de paiement", "File di pagamento"),
    "bank_line": ("Bank line", "Bankbuchung", "Écriture bancaire", "Movimento bancario"),
    "destination": ("To account", "Auf Konto", "Sur le compte", "Sul conto"),
    "returned": (
        "This payment came back on {day}: {reason}",
        "Diese Zahlung kam am {day} zurück: {reason}",
        "Ce paiement est revenu le {day} : {reason}",
        "Questo pagamento è tornato il {day}: {reason}",
    ),
    "balance": ("Your balance", "Ihr Saldo", "Votre solde", "Il suo saldo"),
    "opening": (
        "Balance after the payment before",
        "Saldo nach der vorigen Zahlung",
        "Solde après le paiement précédent",
        "Saldo dopo il pagamento precedente",
    ),
    "new": (
        "Booked since, in this payment",
        "Seither gebucht, in dieser Zahlung",
        "Comptabilisé depuis, dans ce paiement",
        "Registrato da allora, in questo pagamento",
    ),
    "returned_sum": (
        "Back from a returned payment, in this payment",
        "Aus einer zurückgekommenen Zahlung, in dieser Zahlung",
        "D'un paiement revenu, dans ce paiement",
        "Da un pagamento tornato, in questo pagamento",
    ),
    "later": (
        "Booked since, not in this payment",
        "Seither gebucht, nicht in dieser Zahlung",
        "Comptabilisé depuis, hors de ce paiement",
        "Registrato da allora, non in questo pagamento",
    ),
    "payout": ("This payment", "Diese Zahlung", "Ce paiement", "Questo pagamento"),
    "closing": (
        "Balance after this payment",
        "Saldo nach dieser Zahlung",
        "Solde après ce paiement",
        "Saldo dopo questo pagamento",
    ),
    "carried_forward": (
        "carried forward from the opening balance",
        "aus dem Anfangssaldo übernommen",
        "reporté du solde initial",
        "riportato dal saldo iniziale",
    ),
    "proof": ("Proof", "Nachweis", "Preuve", "Prova"),
    "contents": (
        "What this payment is made of",
        "Woraus diese Zahlung besteht",
        "De quoi ce paiement se compose",
        "Di che cosa si compone questo pagamento",
    ),
    "count": ("Number", "Anzahl", "Nombre", "Numero"),
    "amount": ("Amount", "Betrag", "Montant", "Importo"),
    "total": ("Total", "Gesamt", "Total", "Totale"),
    "days": ("By day of sale", "Nach Verkaufstag", "Par jour de vente", "Per giorno di vendita"),
    "day": ("Day", "Tag", "Jour", "Giorno"),
    "other_days": ("Without a sale", "Ohne Verkauf", "Sans vente", "Senza vendita"),
    "earlier": ("Further days", "Weitere Tage", "Autres jours", "Altri giorni"),
    "lines": ("Line by line", "Zeile für Zeile", "Ligne par ligne", "Riga per riga"),
    "sale": ("Sale", "Verkauf", "Vente", "Vendita"),
    "session": ("Session", "Ladevorgang", "Session", "Sessione"),
    "gross": ("Driver paid", "Fahrer zahlte", "Payé", "Pagato"),
    "vat": ("VAT", "MwSt", "TVA", "IVA"),
    "part": ("Your part", "Ihr Anteil", "Votre part", "La sua parte"),
    "part_vat": ("VAT on it", "MwSt darauf", "TVA dessus", "IVA"),
    "fees": ("Fees", "Gebühren", "Frais", "Costi"),
    "rate": ("Rate", "Kurs", "Cours", "Cambio"),
    "due": ("Due", "Fällig", "Échéance", "Scadenza"),
    "more": (
        "{count} further lines are in the attached CSV and JSON.",
        "{count} weitere Zeilen stehen in der angehängten CSV- und JSON-Datei.",
        "{count} autres lignes se trouvent dans les fichiers CSV et JSON joints.",
        "Altre {count} righe sono nei file CSV e JSON allegati.",
    ),
    "more_apart": (
        "{count} further lines are in the CSV and JSON of this statement, which are fetched apart.",
        "{count} weitere Zeilen stehen in CSV und JSON dieser Abrechnung, die eigens abgerufen werden.",
        "{count} autres lignes se trouvent dans les fichiers CSV et JSON de ce décompte, à demander à part.",
        "Altre {count} righe sono nei file CSV e JSON di questo rendiconto, da richiedere a parte.",
    ),
    "holds": ("Held before this payment", "Vor dieser Zahlung gesperrt", "Retenu avant", "Trattenuto prima"),
    "documents": ("Documents", "Dokumente", "Documents", "Documenti"),
    "more_documents": (
        "{count} further documents: ask for them one by one.",
        "{count} weitere Dokumente sind einzeln abzurufen.",
        "{count} autres documents sont à demander un à un.",
        "Altri {count} documenti sono da richiedere uno a uno.",
    ),
    "moved": (
        "due date moved from {old}: {reason}",
        "Fälligkeit verschoben vom {old}: {reason}",
        "échéance déplacée du {old} : {reason}",
        "scadenza spostata dal {old}: {reason}",
    ),
    "seal": (
        "SHA-256 of this statement",
        "SHA-256 dieser Abrechnung",
        "SHA-256 de ce décompte",
        "SHA-256 di questo rendiconto",
    ),
    "how": (
        (
            "Check it without us: networkcore verify with the JSON recomputes every line, the journal's "
            "hashes and these sums, and ends with the same SHA-256."
        ),
        (
            "Ohne uns nachprüfbar: networkcore verify rechnet mit der JSON-Datei jede Zeile, die Hashes "
            "des Journals und diese Summen nach und endet mit demselben SHA-256."
        ),
        (
            "À vérifier sans nous : networkcore verify recalcule avec le fichier JSON chaque ligne, les "
            "empreintes du journal et ces sommes, et aboutit au même SHA-256."
        ),
        (
            "Da verificare senza di noi: networkcore verify ricalcola con il file JSON ogni riga, le "
            "impronte del giornale e queste somme, e termina con lo stesso SHA-256."
        ),
    ),
    "kind_capture": ("Sessions", "Ladevorgänge", "Sessions", "Sessioni"),
    "kind_reversal": ("Reversals", "Stornierungen", "Annulations", "Storni"),
    "kind_refund": ("Refunds", "Rückzahlungen", "Remboursements", "Rimborsi"),
    "kind_refund_failed": (
        "Refunds that failed",
        "Gescheiterte Rückzahlungen",
        "Remboursements échoués",
        "Rimborsi non riusciti",
    ),
    "kind_dispute": ("Disputes", "Zahlungsanfechtungen", "Contestations", "Contestazioni"),
    "kind_dispute_won": (
        "Disputes won",
        "Gewonnene Anfechtungen",
        "Contestations gagnées",
        "Contestazioni vinte",
    ),
    "kind_reserve_hold": (
        "Withheld as reserve",
        "Als Reserve einbehalten",
        "Retenu en réserve",
        "Trattenuto a riserva",
    ),
    "kind_reserve_release": (
        "Reserve released",
        "Reserve freigegeben",
        "Réserve libérée",
        "Riserva liberata",
    ),
    "kind_remainder_hold": (
        "Carried to the next day",
        "Auf den Folgetag übertragen",
        "Reporté au lendemain",
        "Riportato al giorno successivo",
    ),
    "kind_remainder_release": (
        "Carried from the day before",
        "Vom Vortag übertragen",
        "Reporté de la veille",
        "Riportato dal giorno precedente",
    ),
    "kind_debt_collection": (
        "Debt paid in",
        "Eingezahlte Schuld",
        "Dette encaissée",
        "Debito incassato",
    ),
    "kind_debt_compensation": (
        "Debt set off",
        "Verrechnete Schuld",
        "Dette compensée",
        "Debito compensato",
    ),
    "kind_debt_write_off": (
        "Debt written off",
        "Abgeschriebene Schuld",
        "Dette abandonnée",
        "Debito stralciato",
    ),
    "kind_other": ("Other bookings", "Andere Buchungen", "Autres écritures", "Altre registrazioni"),
}


def statement_labels(language: Language) -> Mapping[str, str]:
    """Every label in one language, by its name."""
    place = _ORDER.index(language)
    return MappingProxyType({name: words[place] for name, words in _TABLE.items()})
