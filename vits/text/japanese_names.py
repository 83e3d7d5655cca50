"""Variant characters of Japanese names and old texts as the standard ones, which OpenJTalk has readings for."""

from __future__ import annotations

# Pairs of a variant that OpenJTalk has no reading for, and its standard form.
_PAIRS = (
    "壓圧醫医壹壱隱隠營営應応歐欧毆殴黃黄溫温穩穏假仮壞壊懷懐擴拡殼殻渴渇寬寛歡歓陷陥顏顔歸帰僞偽戲戯犧犠據拠擧挙虛虚峽峡挾挟敎教狹狭鄕郷驅駆薰薫"
    "羣群徑径揭掲繼継莖茎鷄鶏擊撃缺欠儉倹圈圏檢検獻献硏研險険吳呉娛娯效効鑛鉱號号碎砕劑剤濟済雜雑產産慘惨蠶蚕贊賛殘残齒歯兒児濕湿舍舎寫写從従獸獣"
    "縱縦肅粛處処緖緒敍叙獎奨將将涉渉燒焼稱称乘乗剩剰壤壌孃嬢狀状釀醸囑嘱愼慎盡尽醉酔隨随髓髄樞枢瀨瀬淸清靑青聲声攝摂竊窃專専潛潜纖繊踐践禪禅雙双"
    "搜捜插挿爭争裝装騷騒增増臟臓卽即屬属續続墮堕帶帯滯滞臺台擇択擔担膽胆彈弾斷断遲遅鑄鋳徵徴聽聴敕勅鎭鎮轉転盜盗當当鬪闘德徳獨独讀読屆届惱悩霸覇"
    "廢廃拜拝發発髮髪拔抜蠻蛮祕秘濵浜甁瓶拂払步歩邊辺寶宝襃褒飜翻每毎默黙埜野戾戻藥薬譯訳餘余譽誉搖揺樣様謠謡來来賴頼覽覧兩両獵猟壘塁勵励隸隷靈霊"
    "鍊錬爐炉勞労郞郎錄録灣湾髙高﨑崎嵜崎𠮷吉𠮟叱栁柳桒桑桺柳槗橋𣘺橋囯国彥彦內内剝剥繫繋摑掴倂併驒騨熈熙凞熙昻昂晧皓丗世卋世㐂喜凬風劒剣愽博枩松"
    "渊淵煑煮甞嘗眀明秌秋竒奇籏旗緜綿絋紘罸罰翆翠耻恥胷胸蘓蘇豬猪贒賢釼剣銕鉄閒間靍鶴靏鶴顚顛飮飲鬭闘鸎鶯塲場冝宜珎珍袮禰頴穎鉃鉄凾函圀国恠怪旣既"
    "槪概甯寧寗寧寜寧畵画荆荊菴庵蔥葱蠏蟹舉挙謌歌軆体麪麺"
)
_STANDARD = str.maketrans(dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True)) | {"𩸽": "ほっけ"})


def standard(text: str) -> str:
    """A Japanese text with standard characters for variants."""
    return text.translate(_STANDARD)
