// Stands in for the components of React Native, which need a device.
export const [Button, Text, TextInput, View] = ['Button', 'Text', 'TextInput', 'View']
