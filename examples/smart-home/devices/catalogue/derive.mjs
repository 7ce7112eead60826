// Derives catalogue.json from the npm package zigbee-herdsman-converters.
//
//     node derive.mjs                  installs the pinned version in a temporary folder, derives, removes it
//     node derive.mjs --from <folder>  uses the package already installed in that folder
//
// Runs on Node 20 and newer. What comes out is sorted and has no dates, so that
// running it twice gives the same file.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE = 'zigbee-herdsman-converters';
const VERSION = '26.112.0';

// The models that make up a home, by what they are for.
const MODELS = [
    // Temperature, humidity, pressure.
    ['Aqara', 'WSDCGQ11LM'],
    ['SONOFF', 'SNZB-02'],
    ['SONOFF', 'SNZB-02D'],
    ['Tuya', 'TS0201'],
    ['Third Reality', '3RTHS24BZ'],
    // Air.
    ['IKEA', 'E2112'],
    ['Aqara', 'VOCKQJK11LM'],
    ['Tuya', 'TS0601_co2_sensor'],
    // Motion, presence, light.
    ['Aqara', 'RTCGQ11LM'],
    ['Philips', '9290012607'],
    ['Philips', '9290019758'],
    ['SONOFF', 'SNZB-03'],
    ['IKEA', 'E2134'],
    ['Tuya', 'TS0202'],
    ['Aqara', 'RTCZCGQ11LM'],
    ['SONOFF', 'SNZB-06P'],
    ['Xiaomi', 'GZCGQ01LM'],
    // Doors, windows, locks, blinds.
    ['Aqara', 'MCCGQ11LM'],
    ['SONOFF', 'SNZB-04'],
    ['IKEA', 'E2013'],
    ['Danalock', 'V3-BTZB/V3-BTZBE'],
    ['Tuya', 'TS0601_garage_door_opener'],
    ['IKEA', 'E1757'],
    ['Aqara', 'ZNCLDJ12LM'],
    // Water, fire, shaking, noise.
    ['Aqara', 'SJCGQ11LM'],
    ['IKEA', 'E2202'],
    ['SONOFF', 'SNZB-05P'],
    ['SONOFF', 'SWV'],
    ['FrankEver', 'FK_V02'],
    ['Heiman', 'HS1SA-E'],
    ['Xiaomi', 'JTYJ-GD-01LM/BW'],
    ['Aqara', 'DJT11LM'],
    ['NEO', 'NAS-AB02B2'],
    ['Heiman', 'HS2WD-E'],
    ['Tuya', 'TS0601_soil'],
    // Power.
    ['Aqara', 'SP-EUC01'],
    ['SONOFF', 'S60ZBTPF'],
    ['Tuya', 'TS011F_plug_1'],
    ['Salus Controls', 'SP600'],
    ['Philips', '929003050601'],
    // Light.
    ['Philips', '9290022166'],
    ['Philips', '9290024896'],
    ['IKEA', 'LED1624G9'],
    ['IKEA', 'LED1836G9'],
    ['IKEA', 'LED2201G8'],
    ['SONOFF', 'ZBMINI'],
    ['Aqara', 'QBKG11LM'],
    // Heating and cooling.
    ['SONOFF', 'TRVZB'],
    ['Bosch', 'BTH-RA'],
    ['Danfoss', '014G2461'],
    ['Eurotronic', 'SPZB0001'],
    ['Tuya', 'TS0601_thermostat'],
    ['Tuya', 'AETZ01_AC'],
    ['Tuya', 'XZ-AKT101'],
    // Buttons and remotes.
    ['IKEA', 'E1524/E1810'],
    ['IKEA', 'E2201'],
    ['Philips', '929002398602'],
    ['Aqara', 'WXKG11LM'],
    ['SONOFF', 'SNZB-01'],
];

// zigbee2mqtt itself adds this one to every device.
const LINKQUALITY = { type: 'numeric', name: 'linkquality', property: 'linkquality', unit: 'lqi', access: 1, value_min: 0, value_max: 255 };

// The keys that the crate reads, in the order in which they are written. Labels
// and descriptions are left out: nothing decides by them and they are most of the size.
const KEYS = ['type', 'name', 'property', 'endpoint', 'unit', 'access', 'value_min', 'value_max', 'value_step', 'values', 'value_on', 'value_off', 'value_toggle'];

function expose(from) {
    const to = {};
    for (const key of KEYS) {
        if (from[key] !== undefined) to[key] = from[key];
    }
    if (from.features) to.features = from.features.map(expose);
    if (from.item_type && typeof from.item_type === 'object') to.item_type = expose(from.item_type);
    return to;
}

// Some definitions list what they expose only for a given device. A dummy device,
// as the package calls it, stands for "any of this model".
function exposesOf(definition) {
    const exposes = typeof definition.exposes === 'function' ? definition.exposes({ isDummyDevice: true }, {}) : definition.exposes;
    return [...exposes.map(expose), LINKQUALITY];
}

// One line per expose: small to store, and a change shows as one line.
function print(catalogue) {
    const definition = (d) => {
        const { exposes, ...head } = d;
        const lines = exposes.map((e) => `      ${JSON.stringify(e)}`).join(',\n');
        return `    ${JSON.stringify(head).slice(0, -1)},"exposes":[\n${lines}\n    ]}`;
    };
    const { definitions, ...head } = catalogue;
    return `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "definitions": [\n${definitions.map(definition).join(',\n')}\n  ]\n}\n`;
}

function derive(folder) {
    const require = createRequire(join(folder, 'package.json'));
    const found = JSON.parse(readFileSync(join(folder, 'node_modules', PACKAGE, 'package.json'), 'utf8')).version;
    if (found !== VERSION) throw new Error(`${PACKAGE} ${found} is installed, but this script is written for ${VERSION}`);
    const { prepareDefinition } = require(PACKAGE);

    const known = new Map();
    const devices = join(folder, 'node_modules', PACKAGE, 'dist', 'devices');
    for (const file of readdirSync(devices).filter((f) => f.endsWith('.js') && f !== 'index.js')) {
        for (const d of require(join(devices, file)).definitions ?? []) known.set(`${d.vendor}/${d.model}`, d);
    }

    const definitions = MODELS.map(([vendor, model]) => {
        const raw = known.get(`${vendor}/${model}`);
        if (!raw) throw new Error(`${vendor} ${model} is not in ${PACKAGE} ${VERSION}`);
        const d = prepareDefinition(raw);
        // Tuya devices share one Zigbee model id and are told apart by a fingerprint.
        const ids = new Set([...(d.zigbeeModel ?? []), ...(d.fingerprint ?? []).map((f) => f.modelID)].filter(Boolean));
        return { vendor, model, description: d.description, zigbeeModel: [...ids], exposes: exposesOf(d) };
    });
    definitions.sort((a, b) => (`${a.vendor} ${a.model}` < `${b.vendor} ${b.model}` ? -1 : 1));
    return { package: PACKAGE, version: VERSION, licence: 'MIT', definitions };
}

const target = join(dirname(fileURLToPath(import.meta.url)), 'catalogue.json');
const from = process.argv.indexOf('--from');
const folder = from > 0 ? process.argv[from + 1] : mkdtempSync(join(tmpdir(), 'catalogue-'));
try {
    if (from < 0) {
        // Scripts of dependencies build serial port drivers, which nothing here needs.
        execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder, `${PACKAGE}@${VERSION}`], { stdio: 'inherit' });
    }
    const catalogue = derive(folder);
    writeFileSync(target, print(catalogue));
    console.log(`${catalogue.definitions.length} definitions written`);
} finally {
    if (from < 0) rmSync(folder, { recursive: true, force: true });
}
