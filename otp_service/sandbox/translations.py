"""The plugin's texts in German, for sites whose language is not English (contract 2.1).

Statuses, shapes and WordPress' codes stay, only words change: whoever matches on them breaks here.
The wording is ours; that of the plugin's own catalogue was not recorded.
"""

GERMAN = {
    "Successfully send SMS!": "SMS erfolgreich gesendet!",
    "Successfully sent SMS!": "SMS erfolgreich gesendet!",
    "SMS delivery is in progress as a background task; please review the Outbox for updates.": (
        "Der SMS-Versand läuft im Hintergrund; bitte im Postausgang nachsehen."
    ),
    "Could not find any mobile numbers.": "Es wurden keine Mobilnummern gefunden.",
    "The message body can not be empty.": "Der Nachrichtentext darf nicht leer sein.",
    "Message content cannot be empty. Please provide a valid SMS message.": (
        "Der Nachrichtentext darf nicht leer sein. Bitte eine gültige SMS angeben."
    ),
    "The SMS gateway in the plugin is not configured yet.": (
        "Das SMS-Gateway im Plugin ist noch nicht eingerichtet."
    ),
    "Selected start date must be in future": "Das Startdatum muss in der Zukunft liegen",
    "Your activation code: %s": "%s ist Ihr Aktivierungscode",
    "To activate your subscription, the activation has been sent to your number.": (
        "Zur Aktivierung Ihres Abonnements wurde ein Code an Ihre Nummer gesendet."
    ),
    "Your mobile number has been successfully subscribed.": (
        "Ihre Mobilnummer wurde erfolgreich angemeldet."
    ),
    "Your mobile number has been successfully unsubscribed.": (
        "Ihre Mobilnummer wurde erfolgreich abgemeldet."
    ),
    "Name and Mobile Number are required!": "Name und Mobilnummer sind erforderlich!",
    "This mobile is already registered, please choose another one.": (
        "Diese Mobilnummer ist bereits registriert, bitte eine andere wählen."
    ),
    "Activation code is wrong!": "Der Aktivierungscode ist falsch!",
    "Too many attempts. Please try again later.": (
        "Zu viele Versuche. Bitte später noch einmal versuchen."
    ),
    "Not found the number!": "Die Nummer wurde nicht gefunden!",
    "The required parameters must be valued!": "Die erforderlichen Angaben fehlen!",
    "The mobile number does not exist in the specified group(s)!": (
        "Die Mobilnummer gibt es in den angegebenen Gruppen nicht!"
    ),
    "Please select a specific group.": "Bitte eine Gruppe auswählen.",
    "Invalid Mobile Number.": "Ungültige Mobilnummer.",
    "The mobile number length is invalid.": "Die Länge der Mobilnummer ist ungültig.",
    "The mobile number doesn't contain the country code.": (
        "Der Mobilnummer fehlt die Landesvorwahl (&quot;+49&quot;)."
    ),
    "The mobile number is not valid for your country.": (
        "Die Mobilnummer ist für Ihr Land nicht gültig."
    ),
    "Message not found": "Nachricht nicht gefunden",
    "Outbox retrieved successfully": "Postausgang erfolgreich abgerufen",
    "Message deleted successfully": "Nachricht erfolgreich gelöscht",
    "Message resent successfully": "Nachricht erfolgreich erneut gesendet",
    "Sorry, you are not allowed to do that.": "Du bist leider nicht berechtigt, das zu tun.",
    "No route was found matching the URL and request method.": (
        "Es wurde keine Route gefunden, die mit der URL und der Request-Methode identisch ist."
    ),
}


def translated(text: str, locale: str) -> str:
    """The text in the site's language; English where the catalogue has nothing, as in WordPress."""
    return GERMAN.get(text, text) if locale == "de_DE" else text
