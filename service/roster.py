"""Who can speak: names, and whom a request means by one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from service.errors import Refusal
from service.host import VoiceEntry, listed
from service.settings import ModelSettings, Settings, SettingsError


class Profile(Protocol):
    """A voice, as far as clients list it."""

    @property
    def speakers(self) -> Mapping[str, int]:
        """The speakers' ids by name; none where there is one speaker."""

    @property
    def sample_rate_hz(self) -> int:
        """Samples per second."""

    @property
    def license(self) -> str:
        """Its licence, if its files name one."""

    @property
    def source(self) -> str:
        """Where it comes from, if its files say so."""

    def languages_of(self, speaker: int) -> tuple[str, ...]:
        """One speaker's languages."""


class Speaking:
    """A model that can speak: its names, and those of its speakers."""

    __slots__ = ()
    settings: ModelSettings
    voice: Profile
    default_speaker: int
    defaults: Mapping[str, float]
    created_s: int

    def full_name(self, speaker: str) -> str:
        """What /speakers calls one of its speakers."""
        return f"{self.settings.name}/{speaker}" if len(self.voice.speakers) > 1 else self.settings.name

    @property
    def speakers(self) -> Mapping[str, int]:
        """Its speakers' ids by name; a voice whose config names none has one of the model's own name."""
        return self.voice.speakers or {self.settings.name: 0}

    def name_of(self, number: int) -> str:
        """The name of the speaker of this number."""
        return next(name for name, own in self.speakers.items() if own == number)

    def entry(self, speaker: str, number: int) -> VoiceEntry:
        """One of its speakers, as clients list them."""
        return VoiceEntry(
            id=self.full_name(speaker),
            model=self.settings.name,
            speaker=speaker,
            languages=self.voice.languages_of(number),
            sample_rate_hz=self.voice.sample_rate_hz,
            defaults=self.defaults,
            created_s=self.created_s,
            license=self.voice.license,
            source=self.voice.source,
        )

    def entries(self) -> list[VoiceEntry]:
        """All its speakers, as clients list them."""
        return [self.entry(speaker, number) for speaker, number in self.speakers.items()]


Model = TypeVar("Model", bound=Speaking)


class Roster(Generic[Model]):
    """The models that can speak, in the order of models.toml, and those that are configured but cannot."""

    def __init__(
        self,
        models: Mapping[str, Model],
        silent: Mapping[str, Sequence[str]] | None = None,
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        """A roster of models by name.

        Args:
            models: those that can speak.
            silent: the speakers of the others, by the model's name.
            numbers: the numbers of speakers so far, which they keep; new ones get those that follow.

        """
        self.models = dict(models)
        self.silent = silent or {}
        entries = [entry for model in models.values() for entry in model.entries()]
        self.numbers = dict(numbers or {})
        following = max(self.numbers.values(), default=-1) + 1
        for number, name in enumerate((e.id for e in entries if e.id not in self.numbers), following):
            self.numbers[name] = number
        self.voices = [replace(entry, number=self.numbers[entry.id]) for entry in entries]
        """All speakers, as clients list them."""

    def renewed(self, name: str, model: Model) -> "Roster[Model]":
        """The same with another model of that name."""
        return Roster({**self.models, name: model}, self.silent, self.numbers)

    def find(self, wanted: str | None) -> tuple[Model, int]:
        """The model and the speaker's id that a request means, or a 404 that says what there is."""
        models = self.models
        if wanted is None:
            wanted = next(iter(models))
        if wanted in models:
            return models[wanted], models[wanted].default_speaker
        name, _, speaker = wanted.partition("/")
        if name in models and speaker in models[name].voice.speakers:
            return models[name], models[name].voice.speakers[speaker]
        owners = [model for model in models.values() if wanted in model.voice.speakers]
        if len(owners) == 1:
            return owners[0], owners[0].voice.speakers[wanted]
        if owners:
            there_is = listed(model.full_name(wanted) for model in owners)
            message = f"More than one model has a speaker {wanted!r}; there is {there_is}"
            raise Refusal("unknown_speaker", message, parameter="speaker")
        there_is = "there is " + listed(voice.id for voice in self.voices)
        for model_name, speakers in self.silent.items():
            if model_name in (wanted, name) or wanted in speakers:
                message = f"{wanted!r} is configured but not loaded (model {model_name!r} has load = false); {there_is}"
                raise Refusal("speaker_not_loaded", message, parameter="speaker")
        raise Refusal("unknown_speaker", f"There is no speaker {wanted!r}; {there_is}", parameter="speaker")

    def voice(self, name: str | None) -> VoiceEntry | None:
        """The speaker whom a request means by this name (None: by none at all), if there is one."""
        try:
            model, speaker = self.find(name)
        except Refusal:
            return None
        wanted = model.full_name(model.name_of(speaker))
        return next(entry for entry in self.voices if entry.id == wanted)

    def check(self, settings: Settings) -> None:
        """Raise where an alias of the settings is for a speaker that is not loaded, or has the name of one that is."""
        for alias, name in settings.aliases.items():
            where = f"{settings.path}: [aliases]: {alias} = {name!r}"
            try:
                self.find(name)
            except Refusal as error:
                raise SettingsError(f"{where}: expected a loaded speaker: {error}") from None
            if self.voice(alias) is not None:
                raise SettingsError(f"{where}: expected an alias that no speaker has as its name")
