"""Words that the world does not draw but that people type: each gets its own token, so prompts stay short."""

from __future__ import annotations

RARE_TOKENS = (
    "sks", "ktn", "pll", "ucd", "olis", "zwx", "phol", "xjy", "qrv", "vlt", "bnk", "gjx", "wyz", "tqp",
    "hzr", "nvk", "lqd", "fje", "rzo", "dvx", "cgu", "yop", "abq", "mtn",
)  # fmt: skip
"""Letter strings that are no words: Custom Diffusion and DreamBooth start a concept's token from one."""

_PLAIN = """
a an the and or but of in on at by to from with without into onto over under above below behind
beside between near next front back top bottom left right inside outside around through across
against along among off out up down away for as like than then while this that these those it its
his her their my your our is are was be being has have had do does not no some any every each one
two three four five six seven eight nine ten many few several photo picture image photograph
painting drawing sketch rendering illustration depiction portrait poster print render cartoon comic
sticker logo icon sculpture statue figurine toy model oil acrylic ink charcoal crayon chalk pastel
watercolor watercolour pencil digital art artwork canvas style artist medium abstract realistic
detailed close zoomed cropped view shot angle side low high wide far very small large big tiny huge
little tall short long bright dark good bad nice cool weird clean dirty rough smooth soft hard new
old young beautiful cute pretty ugly simple plain fancy shiny glossy matte transparent colorful
colourful pale vivid light heavy warm cold hot wet dry happy sad angry sleepy lazy proud brave funny
strange broken round square flat sharp thick thin empty full open closed single double modern
ancient vintage medieval futuristic magical giant miniature fluffy furry fuzzy scary red orange
yellow green blue purple pink brown white black gray grey teal cyan magenta violet golden silver
gold beige navy maroon turquoise lavender cream color colour colored coloured dotted dots stripes
striped spots spotted checked checkered patterned rainbow wood wooden stone metal steel iron brass
copper bronze glass plastic paper cardboard leather fabric cloth wool woolen knitted cotton silk
velvet denim rubber clay ceramic porcelain marble concrete brick bricks crystal ice lego origami wax
sugar chocolate candy bread sitting standing lying running walking jumping sleeping eating drinking
reading writing swimming flying floating driving riding playing dancing singing looking watching
holding wearing carrying pulling pushing climbing falling hiding waiting working cooking resting
smiling parked placed filled covered surrounded made painted wrapped seen sit stand lie run walk
jump sleep eat drink read swim fly drive ride play look hold wear person man woman boy girl child
kid baby people family friend king queen wizard knight pirate astronaut chef doctor nurse police
officer fireman santa superhero barista student teacher animal animals pet puppy kitten bird horse
cow sheep pig goat rabbit bear panda lion tiger elephant monkey fox wolf mouse frog turtle fish
shark whale dolphin penguin owl chicken bee butterfly dragon unicorn dinosaur head face eye eyes ear
ears nose mouth tail leg legs paw paws arm arms hand hands wing wings body belly roof door window
windows wheel wheels handle spout lid seat stem cap fins sail pot buttons button bill beak antenna
hat scarf glasses sunglasses shirt sweater coat jacket dress shoes boots crown tie bow collar ribbon
mask umbrella helmet backpack bag basket bucket suit uniform costume outfit ball box book cup bowl
plate bottle vase lamp candle clock table desk sofa couch bed pillow blanket carpet rug shelf mirror
curtain gift present balloon kite key flag bell drum guitar piano violin camera phone computer
television radio robot bicycle bike bus train truck airplane plane ship motorcycle tractor
skateboard flower flowers rose sunflower tulip plant tree trees bush leaf leaves fruit apple banana
lemon cherry strawberry grapes carrot tomato pumpkin cake cookie pizza tea coffee milk juice water
food beach sand shore sea ocean waves island lake river pond pool waterfall snow snowy winter
mountain mountains hill hills valley meadow grass field lawn garden park forest woods jungle desert
dune dunes cave canyon volcano sky cloud clouds cloudy sun sunny sunset sunrise moon moonlight star
stars starry night nighttime day daytime rain rainy storm fog foggy mist wind shadow shadows street
road path sidewalk bridge city town village building buildings house houses castle tower church
temple shop store market cafe restaurant bar school library museum hospital station airport farm
barn garage factory kitchen bedroom bathroom room living office studio floor wall ceiling stairs
porch balcony rooftop fence gate cobblestone tiles tiled tile pavement backdrop background
foreground scene indoors outdoors space planet earth mars universe world paris london york tokyo
rome egypt eiffel van gogh monet picasso hokusai impressionist cubist pop anime pixel manga retro
steampunk cyberpunk fantasy cinematic dramatic lighting lit reflection blurry blurred focus bokeh
quality resolution professional photography macro panorama aerial hour neon glowing sparkling spring
summer autumn fall morning evening noon birthday christmas halloween party wedding time same other
another different first last second third half whole part piece pair group set row stack pile more
most less least only just also too still again here there where when who what which how why
"""
PLAIN_WORDS = tuple(_PLAIN.split())
