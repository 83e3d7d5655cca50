/* Every sentence of the page, in English and in Chinese. page.js uses it; both are classic scripts and share their names. */
"use strict";

const CHINESE = {
    "Your text becomes speech on this server and goes nowhere else.": "文字在这台服务器上变成语音，不会传到别处。",
    "Voice": "声音",
    "Language": "语言",
    "Automatic": "自动",
    "Text": "文字",
    "Type the text to speak": "请输入要朗读的文字",
    "Stop": "停止",
    "Speak": "朗读",
    "API key": "API 密钥",
    "Stored for this tab only, until you close it, and never part of a shared link.": "只保存在这个标签页，关闭后即清除；绝不会出现在分享链接里。",
    "Use this key": "使用这个密钥",
    "Recording": "录音",
    "Play": "播放",
    "Pause": "暂停",
    "Position": "播放位置",
    "{at} of {length} seconds": "第 {at} 秒，共 {length} 秒",
    "Format": "格式",
    "Download": "下载",
    "Copy link": "复制链接",
    "Link to these settings": "这些设置的链接",
    "Tuning": "调节",
    "Reset": "恢复默认",
    "Speed": "语速",
    "Speed, as a number": "语速数值",
    "Voice variation": "音色变化",
    "Voice variation, as a number": "音色变化数值",
    "Rhythm variation": "节奏变化",
    "Rhythm variation, as a number": "节奏变化数值",
    "Seed": "种子",
    "automatic": "自动",
    "The same settings with the same seed are the same recording.": "设置和种子相同，录音就相同。",
    "Another take": "换一种读法",
    "speaks": "朗读",
    "stops": "停止",
    "For programs: the API": "给程序用：API",
    "Read novels with this voice in Legado": "在“阅读”（Legado）里用这个声音听书",
    "Scan this code with the phone that has Legado, or open the link there.": "用装有“阅读”的手机扫描这个二维码，或在手机上打开链接。",
    "This address works on this machine only. Open this page by the address that the phone can reach.": "这个地址只在本机有效。请用手机能访问的地址打开本页。",
    "Import into Legado": "导入到“阅读”",
    "QR code of the link": "链接的二维码",

    "{count} of {limit} characters": "{count} / {limit} 字",
    "{count} characters": "{count} 字",
    "Nothing has been spoken yet": "还没有朗读",
    "Waiting for the first sound": "正在等待首段声音",
    "Loading the voice, then the first sound": "正在加载语音模型，随后是首段声音",
    "loads first": "需先加载",
    "Speaking": "正在朗读",
    "Paused": "已暂停",
    "Stopped": "已停止",
    "Ready to replay": "可以重听",
    "Preparing the file": "正在生成文件",
    "Saved": "已保存",
    "Link copied. The text comes after the #, which browsers never send to a server": "链接已复制。文字在 # 之后，浏览器不会把它发给服务器",
    "Copy the link below": "请复制下面的链接",
    "First sound after": "首段声音用时",
    "Length": "时长",
    "Real-time factor": "实时率",
    "{seconds} s": "{seconds} 秒",
    "from the cache": "来自缓存",
    "{count} characters could not be spoken:": "有 {count} 个字符读不出来：",
    "1 character could not be spoken:": "有 1 个字符读不出来：",

    "Try again": "再试一次",
    "Try again in {seconds} s": "{seconds} 秒后可重试",
    "There is nothing to say yet. Write something first.": "还没有文字。请先写点什么。",
    "Nothing in this text can be spoken by this voice. It may speak another language.": "这个声音读不出这段文字。它可能说的是另一种语言。",
    "The text is too long: {count} characters, and at most {limit} are allowed.": "文字太长：{count} 字，最多 {limit} 字。",
    "The text is too long.": "文字太长。",
    "This voice does not speak that language.": "这个声音不会说这种语言。",
    "The server no longer has this voice. The list of voices has been reloaded.": "服务器上已没有这个声音。声音列表已重新加载。",
    "A number is out of range.": "有一个数值超出范围。",
    "The voice predicted an impossible length for this text. Try another seed or less rhythm variation.": "这个声音为这段文字预测了不可能的时长。请换一个种子，或减小节奏变化。",
    "The recording would be longer than this server allows.": "录音会超过这台服务器允许的时长。",
    "The server does not have the packages that this language needs.": "服务器缺少这种语言所需的软件包。",
    "The server is busy with other texts.": "服务器正忙着处理别的文字。",
    "The voices are still loading.": "声音还在加载。",
    "The server is stopping.": "服务器正在停止。",
    "This server wants an API key.": "这台服务器需要 API 密钥。",
    "This API key is not the right one.": "这个 API 密钥不对。",
    "The server had an internal error. Its log says where.": "服务器内部出错。出错的位置记在服务器的日志里。",
    "The server cannot be reached.": "无法连接服务器。",
    "The connection broke before the end.": "连接在结束前中断了。",
    "The recording could not be loaded. Speak it again.": "录音无法加载。请重新朗读。",
    "This browser cannot play the sound.": "这个浏览器无法播放声音。",
};

// What each error code means to a person. For other codes the page shows the server's own message.
const MEANINGS = {
    missing_text: "There is nothing to say yet. Write something first.",
    empty_text: "There is nothing to say yet. Write something first.",
    unspeakable_text: "Nothing in this text can be spoken by this voice. It may speak another language.",
    text_too_long: "The text is too long.",
    unknown_language: "This voice does not speak that language.",
    unknown_speaker: "The server no longer has this voice. The list of voices has been reloaded.",
    speaker_not_loaded: "The server no longer has this voice. The list of voices has been reloaded.",
    bad_number: "A number is out of range.",
    runaway_length: "The voice predicted an impossible length for this text. Try another seed or less rhythm variation.",
    audio_too_long: "The recording would be longer than this server allows.",
    missing_library: "The server does not have the packages that this language needs.",
    busy: "The server is busy with other texts.",
    loading: "The voices are still loading.",
    stopping: "The server is stopping.",
    internal_error: "The server had an internal error. Its log says where.",
    unreachable: "The server cannot be reached.",
    broken_off: "The connection broke before the end.",
    not_playable: "The recording could not be loaded. Speak it again.",
    no_sound: "This browser cannot play the sound.",
};
// For these the server's message is shown as well: it names the missing package, or the languages that the voice has.
const WORTH_QUOTING = ["unknown_language", "missing_library"];

const SAMPLES = {
    en: "Good morning. This voice was made on two small cores, one short window of sound after the other.",
    zh: "早上好。这个声音是用两个小小的处理器核心，一小段一小段算出来的。",
    ja: "おはようございます。この声は、二つの小さなコアで、少しずつ作られています。",
    ko: "안녕하세요. 이 목소리는 작은 코어 두 개로 조금씩 만들어집니다.",
    sa: "नमस्ते। स्वागतम्।",
};

const locale = navigator.languages.map((tag) => tag.split("-")[0]).find((tag) => tag === "zh" || tag === "en") ?? "en";

/** The English words in the reader's language, with the values put in. */
function t(english, values = {}) {
    const words = locale === "zh" ? CHINESE[english] ?? english : english;
    return words.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Put the page's own words into the reader's language. */
function translate() {
    document.documentElement.lang = locale === "zh" ? "zh-CN" : "en";
    for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.textContent);
    for (const [attribute, marker] of [["placeholder", "data-t-placeholder"], ["aria-label", "data-t-label"], ["alt", "data-t-alt"]]) {
        for (const element of document.querySelectorAll(`[${marker}]`)) element.setAttribute(attribute, t(element.getAttribute(marker)));
    }
}
