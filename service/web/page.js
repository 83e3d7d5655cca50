/* What the page does: it asks /speak for sound, plays it while it is made, and shows it. Its sentences are in words.js. */
"use strict";

const SCALES = ["speed", "noise_scale", "noise_scale_w"];
const WAV_HEADER_BYTES = 44;
const PEAKS_PER_SECOND = 50;
// The pause before the first sample, so that the start of the first window is never cut off.
const HEAD_START_S = 0.03;
const MAX_SEED = 2 ** 32 - 1;
// The server accepts request lines of up to 64 KiB, and an audio element can only send a GET.
const MAX_QUERY_LENGTH = 64_000;

const $ = (id) => document.getElementById(id);
const audio = $("audio");

/** What went wrong: an error code of the server, or one of the page's own. */
class Fault extends Error {
    constructor(code, message = "", retryAfterS = null) {
        super(message);
        this.code = code;
        this.retryAfterS = retryAfterS;
    }

    get words() {
        const meaning = this.code in MEANINGS ? t(MEANINGS[this.code]) : this.message || t(MEANINGS.internal_error);
        return WORTH_QUOTING.includes(this.code) ? `${meaning} ${this.message}` : meaning;
    }
}

// ---- The server ----

// What an error of a proxy in front of the server means; its body is not JSON.
const PROXY_CODES = {
    401: "unauthorized",
    413: "text_too_long",
    414: "text_too_long",
    431: "text_too_long",
    502: "unreachable",
    503: "unreachable",
    504: "unreachable",
};

// The key lives in sessionStorage: a reload keeps it, closing the tab forgets it, and no other tab or site can read it.
// Where the browser forbids even that, it lives in this variable alone.
let apiKey = null;
try {
    apiKey = sessionStorage.getItem("key");
} catch {}

function keepKey(key) {
    apiKey = key;
    try {
        sessionStorage.setItem("key", key);
    } catch {}
}

/** The response to a GET, or a Fault. */
async function ask(path, signal) {
    // fetch takes header values with one byte in each character, so the key's UTF-8 is spelt that way.
    const bearer = String.fromCharCode(...new TextEncoder().encode(apiKey ?? ""));
    const headers = bearer ? {Authorization: `Bearer ${bearer}`} : {};
    let response;
    try {
        // The browser's cache is bypassed, so that the figures shown are those of the server.
        response = await fetch(path, {headers, signal, cache: "no-store", credentials: "omit"});
    } catch (error) {
        throw error.name === "AbortError" ? error : new Fault("unreachable");
    }
    if (response.ok) return response;
    const error = (await response.json().catch(() => null))?.error;
    const retryAfterS = Number(response.headers.get("Retry-After")) || null;
    throw new Fault(error?.code ?? PROXY_CODES[response.status] ?? "internal_error", error?.message, retryAfterS);
}

/** The samples of a 16-bit WAV file, as they arrive. */
async function* wavSamples(body) {
    const reader = body.getReader();
    let headerBytes = WAV_HEADER_BYTES;
    let rest = new Uint8Array(0);
    for (;;) {
        const {done, value} = await reader.read().catch((error) => {
            throw error.name === "AbortError" ? error : new Fault("broken_off");
        });
        if (done) return;
        const bytes = new Uint8Array(rest.length + value.length);
        bytes.set(rest);
        bytes.set(value, rest.length);
        const view = new DataView(bytes.buffer);
        const count = Math.max(0, bytes.length - headerBytes) >> 1;
        rest = count ? bytes.slice(headerBytes + 2 * count) : bytes;
        if (count) yield Float32Array.from({length: count}, (_, i) => view.getInt16(headerBytes + 2 * i, true) / 32768);
        if (count) headerBytes = 0;
    }
}

// ---- Sound while it is being made ----

let context = null;

/** The audio context of that sample rate. At the voice's own rate the pieces join without a seam. */
function contextAt(rateHz) {
    if (context?.sampleRate !== rateHz) {
        context?.close();
        context = new AudioContext({sampleRate: rateHz});
    }
    context.resume();
    return context;
}

/** Sound that is played piece by piece, as it arrives. */
class Live {
    constructor(rateHz, onend) {
        this.context = contextAt(rateHz);
        this.rateHz = rateHz;
        this.onend = onend;
        this.pieces = [];
        this.lengthS = 0;
        this.freeAt = 0;
        this.held = [];
        this.holding = false;
        this.leadS = 0;
        this.paused = false;
    }

    /** Play these samples after the earlier ones. Each time the sound runs out, more is buffered before it resumes. */
    add(samples) {
        this.held.push(samples);
        if (!this.holding && this.pieces.length && this.freeAt < this.context.currentTime) {
            this.holding = true;
            this.leadS = this.leadS * 2 || 1;
        }
        const heldS = this.held.reduce((sum, piece) => sum + piece.length, 0) / this.rateHz;
        if (!this.holding || heldS >= this.leadS) this.schedule();
    }

    schedule() {
        this.holding = false;
        for (const samples of this.held.splice(0)) {
            const buffer = this.context.createBuffer(1, samples.length, this.rateHz);
            buffer.copyToChannel(samples, 0);
            const source = this.context.createBufferSource();
            source.buffer = buffer;
            source.connect(this.context.destination);
            const now = this.context.currentTime;
            const at = this.freeAt < now ? now + HEAD_START_S : this.freeAt;
            source.start(at);
            this.pieces.push({source, at, from: this.lengthS, lengthS: buffer.duration});
            this.freeAt = at + buffer.duration;
            this.lengthS += buffer.duration;
        }
    }

    /** Nothing more will come. */
    finish() {
        this.schedule();
        if (this.freeAt <= this.context.currentTime) this.onend();
        else this.pieces.at(-1).source.onended = this.onend;
    }

    /** How much of the sound has been heard, in seconds. */
    get positionS() {
        const now = this.context.currentTime - (this.context.outputLatency || 0);
        const piece = this.pieces.findLast(({at}) => at <= now);
        return piece ? piece.from + Math.min(now - piece.at, piece.lengthS) : 0;
    }

    togglePause() {
        this.paused = !this.paused;
        return this.paused ? this.context.suspend() : this.context.resume();
    }

    silence() {
        for (const {source} of this.pieces) {
            source.onended = null;
            source.stop();
        }
        this.pieces = [];
        this.held = [];
        this.context.suspend();
    }
}

// ---- The recording: one speech, from the first window to its replay ----

let recording = null;

/** The parameters for /speak; a scale is left out where it is the voice's own default. */
function soundParameters() {
    const parameters = new URLSearchParams({text: $("text").value, speaker: $("voice").value});
    if ($("lang").value !== "auto") parameters.set("lang", $("lang").value);
    for (const name of SCALES.filter(isChanged)) parameters.set(name, $(name).value);
    if ($("seed").value) parameters.set("seed", $("seed").value);
    return parameters;
}

async function speak() {
    discard();
    showFault(null);
    const count = characters();
    if (!$("text").value.trim()) return showFault(new Fault("empty_text"));
    if (count > limit) return showFault(new Fault("too_long", t("The text is too long: {count} characters, and at most {limit} are allowed.", {count, limit})));
    const parameters = soundParameters();
    if (String(parameters).length > MAX_QUERY_LENGTH) return showFault(new Fault("text_too_long"));
    const made = {
        parameters,
        aborter: new AbortController(),
        askedAtMs: performance.now(),
        rateHz: voices.get($("voice").value).sample_rate_hz,
        mustLoad: mustLoad(voices.get($("voice").value)),
        expectedS: guessSeconds($("text").value) / (Number($("speed").value) || 1),
        peaks: [],
        samples: 0,
        finished: false,
        stopped: false,
    };
    recording = made;
    try {
        made.live = new Live(made.rateHz, () => handOver(made));
        render();
        await record(made);
    } catch (error) {
        if (recording !== made) return;
        made.live?.silence();
        made.live = null;
        made.stopped = true;
        if (!made.samples) recording = null;
        render();
        if (error.name === "AbortError") return;
        if (!(error instanceof Fault || error instanceof DOMException)) throw error;
        // Apart from Fault and AbortError, only the audio context throws, and what it throws is a DOMException.
        showFault(error instanceof Fault ? error : new Fault("no_sound"), speak);
    }
}

/** Stream the sound as WAV: the finished recording stays in the server's cache, for replay and seeking. */
async function record(made) {
    const response = await ask(`speak?${made.parameters}&format=wav&stream=true`, made.aborter.signal);
    readHeaders(made, response.headers);
    for await (const samples of wavSamples(response.body)) {
        if (made.aborter.signal.aborted) return;
        addPeaks(made, samples);
        made.live.add(samples);
        render();
    }
    made.wholeAfterS = (performance.now() - made.askedAtMs) / 1000;
    made.finished = true;
    audio.src = finishedUrl(made);
    made.live.finish();
    render();
    await markVoices();
}

function readHeaders(made, headers) {
    made.cached = headers.get("X-Cache") === "hit";
    made.seed = headers.get("X-Seed");
    made.droppedCount = Number(headers.get("X-Dropped-Count"));
    made.dropped = (headers.get("X-Dropped") ?? "").split(", ").filter(Boolean).map((entry) => {
        const [character, count] = entry.split("=");
        return [decodeURIComponent(character), Number(count)];
    });
    if (made.droppedCount) showDropped(made);
}

/** The URL of the finished file for the audio element, which cannot send a header: the key goes into the query. */
function finishedUrl(made) {
    const parameters = new URLSearchParams(made.parameters);
    parameters.set("format", "wav");
    if (apiKey) parameters.set("key", apiKey);
    return `speak?${parameters}`;
}

/** The peaks of short steps, for the waveform. */
function addPeaks(made, samples) {
    const step = made.rateHz / PEAKS_PER_SECOND;
    for (const sample of samples) {
        const index = Math.floor(made.samples++ / step);
        made.peaks[index] = Math.max(made.peaks[index] ?? 0, Math.abs(sample));
    }
}

/** About how long a text takes to speak, to draw the part that is still to come. */
function guessSeconds(text) {
    return Array.from(text).reduce((sum, character) => sum + (character > "\u2e7f" ? 0.2 : 0.065), 0.3);
}

/** Switch from the pieces to the audio element, which can seek. */
function handOver(made) {
    made.live.silence();
    made.live = null;
    render();
}

/** Stop the sound and cancel the current request. */
function discard() {
    audio.pause();
    audio.removeAttribute("src");
    audio.load();
    if (!recording) return;
    recording.aborter.abort();
    recording.live?.silence();
    recording.live = null;
    $("dropped").hidden = true;
}

function stop() {
    if (!isBusy()) return;
    recording.stopped = true;
    recording.aborter.abort();
    recording.live?.silence();
    recording.live = null;
    audio.pause();
    if (recording.finished) audio.currentTime = 0;
    render();
}

function isSounding() {
    return recording?.live ? !recording.live.paused : !audio.paused;
}

function isBusy() {
    return Boolean(recording?.live) || !audio.paused;
}

async function togglePlay() {
    const {live} = recording;
    if (live) await live.togglePause();
    else if (audio.paused) await audio.play().catch(() => {});
    else audio.pause();
    render();
}

function seek() {
    const wasSounding = isSounding();
    if (recording.live) {
        recording.live.silence();
        recording.live = null;
    }
    audio.currentTime = Number($("seek").value);
    if (wasSounding) audio.play().catch(() => {});
    render();
}

const lengthS = (made) => made.samples / made.rateHz;
const positionS = (made) => made.live?.positionS ?? (made.finished ? audio.currentTime : 0);

// ---- What the page shows of it ----

function render() {
    const made = recording;
    const sounding = isSounding();
    $("play").disabled = !made || !(made.live?.pieces.length || made.finished);
    $("play").setAttribute("aria-label", t(sounding && !$("play").disabled ? "Pause" : "Play"));
    $("play-icon").toggleAttribute("hidden", sounding && !$("play").disabled);
    $("pause-icon").toggleAttribute("hidden", !sounding || $("play").disabled);
    $("stop").setAttribute("aria-disabled", String(!isBusy()));
    $("seek").disabled = !made?.finished;
    $("download").disabled = !made?.finished;
    say(state(made));
    showFigures(made);
    draw();
    if (!following) follow();
}

function state(made) {
    if (!made) return "Nothing has been spoken yet";
    if (made.live) {
        if (made.live.paused) return "Paused";
        if (made.live.pieces.length) return "Speaking";
        return made.mustLoad ? "Loading the voice, then the first sound" : "Waiting for the first sound";
    }
    if (!audio.paused) return "Speaking";
    if (!made.finished) return "Stopped";
    return audio.currentTime > 0 && !audio.ended ? "Paused" : "Ready to replay";
}

/** Show the state in words; a screen reader reads them only when they change. */
function say(words) {
    if ($("status").textContent !== t(words)) $("status").textContent = t(words);
}

function showFigures(made) {
    const figures = [];
    const seconds = (value, digits) => t("{seconds} s", {seconds: value.toFixed(digits)});
    if (made?.firstSoundS !== undefined) figures.push(["First sound after", seconds(made.firstSoundS, 2)]);
    if (made?.finished) {
        figures.push(["Length", seconds(lengthS(made), 2)]);
        const factor = (made.wholeAfterS / lengthS(made)).toFixed(2);
        figures.push(["Real-time factor", made.cached ? t("from the cache") : factor]);
        if (made.seed) figures.push(["Seed", made.seed]);
    }
    $("figures").hidden = !figures.length;
    $("figures").replaceChildren(...figures.map(([name, value]) => {
        const [group, term, detail] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
        term.textContent = t(name);
        detail.textContent = value;
        group.append(term, detail);
        return group;
    }));
}

function showDropped(made) {
    const words = made.droppedCount === 1 ? "1 character could not be spoken:" : "{count} characters could not be spoken:";
    const names = made.dropped.map(([character, count]) => visible(character) + (count > 1 ? ` ×${count}` : ""));
    const list = document.createElement("strong");
    list.textContent = names.join("  ");
    $("dropped").replaceChildren(`${t(words, {count: made.droppedCount})} `, list);
    $("dropped").hidden = false;
}

/** The character itself, or its code point where it is invisible. */
function visible(character) {
    const isSeen = /[\p{L}\p{N}\p{P}\p{S}]/u.test(character) && !/\p{Default_Ignorable_Code_Point}/u.test(character);
    return isSeen ? character : `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

/** Draw bars for what has arrived and dots for what is to come; what has been heard is in the accent colour. */
function draw() {
    const canvas = $("wave");
    const {width, height} = canvas.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const paint = canvas.getContext("2d");
    paint.scale(scale, scale);
    const colours = getComputedStyle(document.documentElement);
    const bars = Math.floor((width + 2) / 5);
    const made = recording;
    const wholeS = made ? Math.max(lengthS(made), made.finished || made.stopped ? 0 : made.expectedS) : 0;
    const heard = made && wholeS ? positionS(made) / wholeS : 0;
    for (let bar = 0; bar < bars; bar++) {
        const from = Math.floor((bar / bars) * wholeS * PEAKS_PER_SECOND);
        const to = Math.max(from + 1, Math.floor(((bar + 1) / bars) * wholeS * PEAKS_PER_SECOND));
        const peak = made ? Math.max(0, ...made.peaks.slice(from, to)) : 0;
        const tall = Math.max(3, Math.sqrt(peak) * height);
        const kind = from >= (made?.peaks.length ?? 0) ? "--coming" : (bar + 0.5) / bars <= heard ? "--heard" : "--unheard";
        paint.fillStyle = colours.getPropertyValue(kind);
        paint.beginPath();
        paint.roundRect(bar * 5, (height - tall) / 2, 3, tall, 1.5);
        paint.fill();
    }
    showTime(made, wholeS);
}

function showTime(made, wholeS) {
    $("time").textContent = made?.samples ? `${clock(positionS(made))} / ${clock(lengthS(made))}` : "";
    if (!made?.finished) return;
    const at = positionS(made);
    $("seek").max = String(wholeS);
    $("seek").value = String(at);
    const values = {at: Math.round(at), length: Math.round(wholeS)};
    $("seek").setAttribute("aria-valuetext", t("{at} of {length} seconds", values));
}

let following = false;

/** Redraw once a frame as long as there is sound. */
function follow() {
    following = isBusy();
    if (!following) return;
    noteFirstSound(recording);
    draw();
    requestAnimationFrame(follow);
}

/** Note the time from the click to the first sample, worked back from the current position. */
function noteFirstSound(made) {
    if (!made.live || made.firstSoundS !== undefined || made.live.positionS === 0) return;
    made.firstSoundS = (performance.now() - made.askedAtMs) / 1000 - made.live.positionS;
    showFigures(made);
}

let countdown = null;

/** Show what is wrong and what to do about it; null clears it. */
function showFault(fault, again = null) {
    clearInterval(countdown);
    const wantsKey = fault?.code === "unauthorized";
    $("key-form").hidden = !wantsKey;
    $("fault").hidden = !fault;
    $("fault-text").textContent = fault ? (wantsKey ? keyWords() : fault.words) : "";
    $("retry").hidden = !again || wantsKey || !isWorthRetrying(fault);
    $("retry").onclick = again;
    if (wantsKey) askForKey(again);
    if (!$("retry").hidden) countDown(fault.retryAfterS ?? 0);
    if (["unknown_speaker", "speaker_not_loaded"].includes(fault?.code)) loadVoices();
}

const keyWords = () => t(apiKey ? "This API key is not the right one." : "This server wants an API key.");

const isWorthRetrying = (fault) => ["busy", "loading", "stopping", "unreachable", "broken_off", "internal_error"].includes(fault.code);

function countDown(seconds) {
    const button = $("retry");
    button.disabled = seconds > 0;
    button.textContent = seconds > 0 ? t("Try again in {seconds} s", {seconds}) : t("Try again");
    clearTimeout(countdown);
    if (seconds > 0) countdown = setTimeout(countDown, 1000, Math.ceil(seconds) - 1);
}

function askForKey(again) {
    $("key").value = "";
    $("key").focus();
    $("key-form").onsubmit = (event) => {
        event.preventDefault();
        keepKey($("key").value.trim());
        showFault(null);
        (again ?? loadVoices)();
    };
}

// ---- The form ----

let voices = new Map();
let ranges = {};
let limit = Infinity;
let sample = "";

async function loadVoices() {
    let answer;
    try {
        answer = await (await ask("speakers")).json();
    } catch (error) {
        return showFault(error, () => {
            showFault(null);
            loadVoices();
        });
    }
    const isFirst = voices.size === 0;
    voices = new Map(answer.speakers.map((voice) => [voice.id, voice]));
    ranges = answer.ranges;
    limit = answer.max_text_chars ?? Infinity;
    fillVoices(answer.default);
    fillFormats(answer.formats);
    for (const id of ["voice", "lang", "format", "speak", "share"]) $(id).disabled = false;
    if (isFirst) readLink();
}

function fillVoices(first) {
    const before = $("voice").value;
    const models = new Map();
    for (const voice of voices.values()) models.set(voice.model, [...(models.get(voice.model) ?? []), voice]);
    $("voice").replaceChildren(...Array.from(models, ([model, members]) => {
        if (members.length === 1) return new Option(described(members[0].id, members[0]), members[0].id);
        const group = document.createElement("optgroup");
        group.label = model;
        group.append(...members.map((voice) => new Option(described(voice.speaker, voice), voice.id)));
        return group;
    }));
    $("voice").value = voices.has(before) ? before : first;
    changeVoice();
}

const languageNames = new Intl.DisplayNames(locale === "zh" ? "zh-CN" : "en", {type: "language"});

/** Whether a voice's model is not in the server's memory now, so that its first sound takes longer. */
const mustLoad = ({state}) => state === "on demand" || state === "loading";

/** A name with its languages, if there are at most three, and whether the voice must load first. */
function described(name, voice) {
    const {languages} = voice;
    const parts = languages.length > 3 ? [name] : [name, languages.map((tag) => languageNames.of(tag)).join(", ")];
    return [...parts, ...(mustLoad(voice) ? [t("loads first")] : [])].join(" · ");
}

/** Mark anew which voices must load first, once one has spoken; where the server is silent the marks stay. */
async function markVoices() {
    if (!Array.from(voices.values()).some((voice) => voice.state !== "loaded")) return;
    let rows;
    try {
        rows = (await (await ask("speakers")).json()).speakers;
    } catch {
        return;
    }
    for (const row of rows) if (voices.has(row.id)) voices.get(row.id).state = row.state;
    for (const option of $("voice").options) {
        const voice = voices.get(option.value);
        option.text = described(option.parentElement.label ? voice.speaker : voice.id, voice);
    }
}

function fillFormats(formats) {
    // Raw samples do not say their sample rate, so they are of no use as a file.
    const files = formats.filter((format) => !format.startsWith("pcm"));
    $("format").replaceChildren(...files.map((format) => new Option(format.toUpperCase(), format)));
}

function changeVoice() {
    const voice = voices.get($("voice").value);
    showLegado();
    // The one language of the voice before was no choice, and would keep a voice of several from reading another.
    const chosen = $("lang").options.length > 1 ? $("lang").value : "auto";
    const automatic = new Option(t("Automatic"), "auto");
    const several = voice.languages.length > 1;
    $("lang").replaceChildren(...(several ? [automatic] : []), ...voice.languages.map((tag) => new Option(languageNames.of(tag), tag)));
    if (voice.languages.includes(chosen)) $("lang").value = chosen;
    const unchanged = SCALES.filter((name) => !isChanged(name));
    const own = {speed: 1 / voice.length_scale, noise_scale: voice.noise_scale, noise_scale_w: voice.noise_scale_w};
    for (const name of SCALES) {
        $(name).defaultValue = String(Number(own[name].toFixed(3)));
        if (unchanged.includes(name)) setScale(name, $(name).defaultValue);
    }
    changeLanguage();
}

/** The language that the text is most likely in, for the sample text. */
function likelyLanguage() {
    const {languages} = voices.get($("voice").value);
    if ($("lang").value !== "auto") return $("lang").value;
    return languages.includes(locale) ? locale : languages[0];
}

function changeLanguage() {
    const text = $("text");
    text.lang = $("lang").value === "auto" ? "" : $("lang").value;
    if (text.value === sample) text.value = sample = SAMPLES[likelyLanguage()] ?? "";
    showCount();
}

const characters = () => Array.from($("text").value).length;

function showCount() {
    const count = characters();
    const words = limit === Infinity ? "{count} characters" : "{count} of {limit} characters";
    $("count").textContent = t(words, {count, limit});
    $("count").classList.toggle("over", count > limit);
}

const isChanged = (name) => $(name).value !== $(name).defaultValue;

// The left half of the speed slider is slower than the voice, the right half faster. The other sliders are linear.
const STEPS = {speed: 60, noise_scale: 200, noise_scale_w: 200};

function toPosition(name, value) {
    const [low, high] = ranges[name];
    const part = name !== "speed" ? (value - low) / (high - low) : value < 1 ? (value - low) / (1 - low) / 2 : 0.5 + (value - 1) / (high - 1) / 2;
    return part * STEPS[name];
}

function fromPosition(name, position) {
    const [low, high] = ranges[name];
    const part = position / STEPS[name];
    const value = name !== "speed" ? low + part * (high - low) : part < 0.5 ? low + 2 * part * (1 - low) : 1 + (2 * part - 1) * (high - 1);
    return Number(value.toFixed(3));
}

/** Set a scale's field and slider to a number, clamped to its range; the field holds it exactly. */
function setScale(name, value) {
    const [low, high] = ranges[name];
    const number = value === "" || !Number.isFinite(Number(value)) ? Number($(name).defaultValue) : Number(value);
    $(name).value = String(Math.min(high, Math.max(low, number)));
    const slider = $(`${name}-slider`);
    slider.value = String(toPosition(name, Number($(name).value)));
    showScale(name);
}

function showScale(name) {
    const slider = $(`${name}-slider`);
    slider.style.setProperty("--filled", `${(100 * slider.value) / STEPS[name]}%`);
    slider.setAttribute("aria-valuetext", $(name).value);
    $("reset").disabled = !SCALES.some(isChanged) && !$("seed").value;
}

function reset() {
    for (const name of SCALES) setScale(name, $(name).defaultValue);
    $("seed").value = "";
    showScale("speed");
}

function anotherTake() {
    $("seed").value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
    showScale("speed");
    speak();
}

function checkSeed() {
    const digits = $("seed").value.replace(/\D/g, "");
    $("seed").value = digits && String(Math.min(MAX_SEED, Number(digits)));
    showScale("speed");
}

// ---- Links and files ----

/** The address of this page with every setting after the #, which browsers never send, so the text stays out of logs. */
/** The link and the code by which a phone imports the chosen voice; with the key, which Legado needs too. */
function showLegado() {
    if (!$("legado").open || voices.size === 0) return;
    const parameters = new URLSearchParams({speaker: $("voice").value, ...(apiKey ? {key: apiKey} : {})});
    const source = new URL(`legado.json?${parameters}`, location.href);
    $("legado-link").href = `legado://import/httpTTS?src=${encodeURIComponent(source.href)}`;
    $("legado-code").src = `legado.svg?${parameters}`;
    $("legado-local").hidden = !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
}

function linkToThis() {
    const parameters = soundParameters();
    parameters.set("lang", $("lang").value);
    for (const name of SCALES) parameters.set(name, $(name).value);
    const link = new URL(location.href);
    link.search = "";
    link.hash = parameters;
    return link.href;
}

/** Fill the form from the link that was opened. It does not speak by itself. */
function readLink() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    if (voices.has(parameters.get("speaker"))) $("voice").value = parameters.get("speaker");
    changeVoice();
    const languages = Array.from($("lang").options, (option) => option.value);
    if (languages.includes(parameters.get("lang"))) $("lang").value = parameters.get("lang");
    changeLanguage();
    if (parameters.has("text")) $("text").value = parameters.get("text");
    for (const name of SCALES) if (parameters.has(name)) setScale(name, parameters.get(name));
    if (parameters.has("seed")) $("seed").value = parameters.get("seed");
    checkSeed();
    showCount();
}

async function share() {
    const link = linkToThis();
    $("link").value = link;
    $("link-row").hidden = false;
    try {
        await navigator.clipboard.writeText(link);
        say("Link copied. The text comes after the #, which browsers never send to a server");
    } catch {
        // Without HTTPS there is no clipboard, so the link is selected for copying by hand.
        $("link").select();
        say("Copy the link below");
    }
}

/** Save the recording. It is fetched, so that an error is shown here and the key stays out of the download list. */
async function download() {
    const {parameters} = recording;
    const format = $("format").value;
    $("download").disabled = true;
    say("Preparing the file");
    try {
        const response = await ask(`speak?${parameters}&format=${format}`);
        const file = document.createElement("a");
        file.href = URL.createObjectURL(await response.blob());
        file.download = `${fileName(parameters)}.${format}`;
        file.click();
        setTimeout(() => URL.revokeObjectURL(file.href), 60_000);
        showFault(null);
        say("Saved");
    } catch (error) {
        showFault(error instanceof Fault ? error : new Fault("broken_off"), download);
        render();
    }
    $("download").disabled = false;
}

/** The voice and the first words, without characters that file names cannot have. */
function fileName(parameters) {
    const words = `${parameters.get("speaker")} ${parameters.get("text")}`.match(/[\p{L}\p{N}]+/gu) ?? ["speech"];
    return Array.from(words.join("-")).slice(0, 48).join("");
}

// ---- The start ----

function listen() {
    $("form").onsubmit = (event) => {
        event.preventDefault();
        speak();
    };
    $("stop").onclick = stop;
    $("play").onclick = togglePlay;
    $("seek").oninput = seek;
    $("voice").onchange = changeVoice;
    $("lang").onchange = changeLanguage;
    $("text").oninput = showCount;
    $("share").onclick = share;
    $("download").onclick = download;
    $("reset").onclick = reset;
    $("dice").onclick = anotherTake;
    $("seed").onchange = checkSeed;
    for (const name of SCALES) {
        $(name).onchange = () => setScale(name, $(name).value);
        $(`${name}-slider`).max = String(STEPS[name]);
        $(`${name}-slider`).oninput = (event) => {
            $(name).value = String(fromPosition(name, Number(event.target.value)));
            showScale(name);
        };
    }
    document.onkeydown = (event) => {
        if (event.isComposing) return;
        if (event.key === "Escape") stop();
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("speak").disabled) {
            event.preventDefault();
            speak();
        }
    };
    $("legado").addEventListener("toggle", showLegado);
    for (const name of ["play", "pause", "ended", "seeked", "loadedmetadata"]) audio.addEventListener(name, render);
    audio.onerror = () => {
        if (audio.hasAttribute("src")) showFault(new Fault("not_playable"));
        render();
    };
    window.onhashchange = readLink;
    new ResizeObserver(draw).observe($("wave"));
    matchMedia("(prefers-color-scheme: dark)").onchange = draw;
}

translate();
listen();
render();
loadVoices();
