// The Uppy of today.
export { default as AwsS3 } from '@uppy/aws-s3';
export { default as Uppy } from '@uppy/core';
export { default as Tus } from '@uppy/tus';
