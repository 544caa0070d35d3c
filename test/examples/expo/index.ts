import { createElement } from 'react'
// @ts-expect-error It is in the copy of the example.
import App from 'app'
// @ts-expect-error As above.
import { create } from 'react-test-renderer'

Object.assign(globalThis, { shown: create(createElement(App)) })
